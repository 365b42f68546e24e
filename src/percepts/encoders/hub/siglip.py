"""Encode images and text in one space with SigLIP and SigLIP 2, whose probabilities are a sigmoid of each pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...preprocess.pixels import resize
from ...types import Clip as Media
from ...types import Features, Inputs
from ...weights.checkpoint import Checkpoint
from ..scores import LogitScale
from ..validation import check_clips
from .base import TextTower, TokenGrid
from .clip import Clip

if TYPE_CHECKING:
    import torch

PATCHES = 256  # of an image in the variable-size models, where the processor does not say
TEXT = 64


class Siglip(Clip):
    """Zhai et al. 2023 (arXiv 2303.15343); SigLIP 2 of one size is this too. No class token: attention pools."""

    prefix = 0
    model = "SiglipModel"
    processor = "SiglipImageProcessor"
    template = "This is a photo of {}."

    @classmethod
    def dim(cls, checkpoint: Checkpoint) -> int:
        """Return the width of the text tower's projection, which is that of the image tower."""
        text, vision = checkpoint.section("text_config"), checkpoint.section("vision_config")
        return int(text.get("projection_size") or vision.get("hidden_size") or 768)

    @property
    def patch(self) -> int:
        """Pixels along a patch."""
        return int(self._vision_config.get("patch_size", 16))

    @cached_property
    def logit_scale(self) -> LogitScale:
        """Scale and bias: sigmoid(scale * cosine + bias) is the probability that text and image belong together."""
        return LogitScale.from_checkpoint(self.checkpoint, "logit_scale", "logit_bias")

    def build_text_tower(self) -> TextTower:
        """Build the tower of texts, which was trained on texts padded to 64 tokens and attends to the padding."""
        length = int(self.checkpoint.section("text_config").get("max_position_embeddings", TEXT))
        return TextTower(self, self.build_text, length, pad=True)


class Siglip2(Siglip):
    """Tschannen et al. 2025 (arXiv 2502.14786), NaFlex: images keep their shape, up to a number of patches."""

    model = "Siglip2Model"
    processor = "Siglip2ImageProcessor"

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the fields of a Spec; `size` is the side of a square of as many patches as the model takes."""
        patches, patch = _read_limits(checkpoint)
        return {**super().describe(checkpoint), "size": math.isqrt(patches) * patch}

    def prepare(self, clips: Sequence[Media]) -> Inputs:
        """Cut images into {"patches": (B, N, P * P * 3) uint8, "shape": (B, 2) int64}: row by row, then zeros."""
        check_clips(clips, "image", self.spec)
        limit, patch = (self.spec.size // self.patch) ** 2, self.patch
        patches = np.zeros((len(clips), limit, patch * patch * 3), np.uint8)
        shapes = np.empty((len(clips), 2), np.int64)
        for i, clip in enumerate(clips):
            height, width = fit_size(clip.data.shape[1], clip.data.shape[2], patch, limit)
            found = _split_patches(resize(clip.data[0], height, width, self.pixels.resample), patch)
            patches[i, : len(found)], shapes[i] = found, (height // patch, width // patch)
        return {"patches": patches, "shape": shapes}

    def example(self) -> Inputs:
        """Return an image twice as wide as high: a square would not show whether positions follow the shape."""
        side = self.spec.size // self.patch
        patches = np.random.default_rng(0).integers(0, 256, (1, side * side, self.patch**2 * 3), np.uint8)
        return {"patches": patches, "shape": np.array([[max(1, side // 2), side]])}

    @property
    def grid(self) -> TokenGrid:
        """Patches of an image; the shape of each image is in its inputs."""
        return TokenGrid(("patch",), ((self.spec.size // self.patch) ** 2,))

    def tokens(self, inputs: Inputs) -> Features:
        """Return (B, N, D) states; the mask is False after an image's own patches."""
        states = self._states(inputs)[0]
        return Features(states, np.arange(states.shape[1]) < inputs["shape"].prod(axis=1)[:, None], 0.0)

    def _wrap_tower(self, model: Any, wanted: str) -> torch.nn.Module:
        """Return the image tower as a network of patches, which are cut already, so that it only scales them."""
        from ...weights import pretrained

        return pretrained.WrappedModel(model, _make_call(self.pixels, wanted))


def fit_size(height: int, width: int, patch: int, limit: int) -> tuple[int, int]:
    """Return height and width, in whole patches, of the largest image of this shape with at most `limit` patches.

    The same bisection as in the authors' code, since its last step decides between two sizes.

    >>> fit_size(480, 640, 16, 256)
    (224, 288)
    """
    low, high = 1e-6, 100.0  # a tenth of the authors' eps of 1e-5, which ends the loop
    while high - low >= 1e-5:
        middle = (low + high) / 2
        tall, wide = (max(patch, math.ceil(n * middle / patch) * patch) for n in (height, width))
        low, high = (middle, high) if (tall / patch) * (wide / patch) <= limit else (low, middle)
    tall, wide = (max(patch, math.ceil(n * low / patch) * patch) for n in (height, width))
    return tall, wide


def _split_patches(image: np.ndarray, patch: int) -> np.ndarray:
    """Cut (H, W, 3) pixels into (N, patch * patch * 3), row by row."""
    rows, columns = image.shape[0] // patch, image.shape[1] // patch
    # (rows, columns, P, P, 3) before the last step.
    return image.reshape(rows, patch, columns, patch, 3).swapaxes(1, 2).reshape(rows * columns, -1)


def _read_limits(checkpoint: Checkpoint) -> tuple[int, int]:
    processor = checkpoint.processor
    return int(processor.get("max_num_patches", PATCHES)), int(processor.get("patch_size", 16))


def _make_call(pixels: Any, wanted: str) -> Any:
    import torch

    mean, std = torch.tensor(pixels.mean), torch.tensor(pixels.std)

    def call(model: Any, patches: torch.Tensor, shape: torch.Tensor) -> Any:
        times = patches.shape[-1] // 3
        mask = (torch.arange(patches.shape[1], device=patches.device) < shape.prod(dim=1)[:, None]).long()
        # Padding is zero after scaling, as the model's own processor leaves it.
        values = (patches.float() * pixels.scale - mean.repeat(times)) / std.repeat(times) * mask[..., None]
        found = model.get_image_features(pixel_values=values, pixel_attention_mask=mask, spatial_shapes=shape)
        return getattr(found, wanted)

    return call
