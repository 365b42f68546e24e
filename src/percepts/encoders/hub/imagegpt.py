"""Encode images with ImageGPT: 32 x 32 pixels as colour clusters, and the states of the model that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...errors import WeightsError
from ...preprocess.image_processor import ImageProcessor
from ...types import Clip, Inputs
from ...weights.checkpoint import Checkpoint
from ..validation import check_clips
from .base import TokenGrid
from .classifier import WithClassifier

if TYPE_CHECKING:
    import torch


class ImageGpt(WithClassifier):
    """Chen et al. 2020 (Generative Pretraining from Pixels). The vector is the mean of the last states."""

    pools = ("mean",)
    head_classes: ClassVar[tuple[str, ...]] = ("ImageGPTForImageClassification",)

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the fields of a Spec that the settings of a checkpoint tell, without its weights."""
        if not checkpoint.processor.get("clusters"):
            raise WeightsError(f"{checkpoint.folder}: expected clusters, the colours, in preprocessor_config.json")
        return {"kind": "image", "rate": 0.0, "window": 0.0, "dim": checkpoint.config["n_embd"], "pool": "mean",
                "size": ImageProcessor.from_settings(checkpoint.processor, "ViTImageProcessor").side}  # fmt: skip

    @cached_property
    def clusters(self) -> np.ndarray:
        """Colours of the clusters, (K, 3) in -1..1."""
        return np.asarray(self.checkpoint.processor["clusters"], np.float64)

    @property
    def grid(self) -> TokenGrid:
        """Rows and columns of pixels."""
        return TokenGrid(("row", "column"), self._pixels.output)

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Turn images into {"ids": (B, H * W) int64}: the nearest colour of each pixel, row by row."""
        check_clips(clips, "image", self.spec)
        return {"ids": np.stack([self._find_nearest(self._pixels(clip.data[0])) for clip in clips])}

    def decode_colours(self, ids: np.ndarray) -> np.ndarray:
        """Turn (B, H * W) ids back into (B, H, W, 3) uint8 images."""
        height, width = self._pixels.output
        levels: np.ndarray = np.rint(self.clusters[ids] * 127.5 + 127.5).clip(0, 255)
        return levels.reshape(-1, height, width, 3).astype(np.uint8)

    def example(self) -> Inputs:
        """Return an image of one colour."""
        return {"ids": np.zeros((1, self._pixels.output[0] * self._pixels.output[1]), np.int64)}

    def build(self) -> torch.nn.Module:
        """Load the model of transformers."""
        from ...weights import pretrained

        model = pretrained.load_pretrained(
            "ImageGPTModel", self.checkpoint.folder, spare=("attn.bias", "attn.masked_bias")
        )
        # No cache of keys and values: nothing is generated.
        return pretrained.WrappedModel(model, lambda m, ids: m(input_ids=ids, use_cache=False).last_hidden_state)

    @cached_property
    def _pixels(self) -> ImageProcessor:
        return ImageProcessor.from_settings(self.checkpoint.processor, "ViTImageProcessor").with_size(self.spec.size)

    def _find_nearest(self, picture: np.ndarray) -> np.ndarray:
        """Return the (H * W,) ids of the nearest colours of (H, W, 3) uint8 pixels."""
        colours = picture.reshape(-1, 3) / 127.5 - 1  # to -1..1, the range of the clusters
        # Squared distances less the square of the colour, which is the same for all clusters.
        distances = (self.clusters**2).sum(axis=1) - 2 * colours @ self.clusters.T
        ids: np.ndarray = distances.argmin(axis=1)
        return ids
