"""Encode images of any size with Fuyu: linear patches row by row, as its language model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...preprocess.pixels import resize
from ...runtimes import DeferredRunner
from ...types import Clip, Features, Inputs, Spec
from ...weights.checkpoint import Checkpoint
from ..validation import check_clips
from .base import TokenGrid, Transformer

if TYPE_CHECKING:
    import torch

PAD = 1  # of 255, as its processor pads: before it scales
NEWLINE = -1


class Fuyu(Transformer):
    """Bavishi et al. 2023 (adept.ai/blog/fuyu-8b). It has no vision network: of the weights one matrix is read."""

    pools = ("mean",)

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        super().__init__(spec, runtime=runtime, threads=threads)
        self._run: DeferredRunner = self._defer_network(
            "media", self.build, self.example, self.outputs, {"patches": {1: "patches"}}
        )

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the fields of a Spec; size 0, since images come in their own size."""
        text = checkpoint.section("text_config") or checkpoint.config
        return {"kind": "image", "rate": 0.0, "window": 0.0, "dim": int(text.get("hidden_size", 4096)), "pool": "mean",
                "size": 0}  # fmt: skip

    @property
    def patch(self) -> int:
        """Pixels along a patch."""
        return int(self.config.get("patch_size", 30))

    @property
    def grid(self) -> TokenGrid:
        """Layout of the largest image; the shape of each is in its inputs."""
        height, width = self._max_size
        return TokenGrid(("row", "column"), (height // self.patch, width // self.patch))

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Cut images into {"patches": (B, N, P * P * 3) uint8, "shape": (B, 2) int64}, row by row, then zeros.

        An image larger than the processor's size is shrunk into it; the last row and column are padded to a patch.
        """
        check_clips(clips, "image", self.spec)
        found = [self._cut_patches(clip.data[0]) for clip in clips]
        patches = np.zeros((len(found), max(len(p) for p, _ in found), self.patch**2 * 3), np.uint8)
        for row, (cut, _) in zip(patches, found, strict=True):
            row[: len(cut)] = cut
        return {"patches": patches, "shape": np.array([shape for _, shape in found], np.int64)}

    def tokens(self, inputs: Inputs) -> Features:
        """Return (B, N, D) embedded patches; the mask is False after an image's own."""
        states = self._run({"patches": inputs["patches"]})[0]
        return Features(states, np.arange(states.shape[1]) < inputs["shape"].prod(axis=1)[:, None], 0.0)

    def example(self) -> Inputs:
        """Return two patches."""
        return {"patches": np.zeros((1, 2, self.patch**2 * 3), np.uint8)}

    def build(self) -> torch.nn.Module:
        """Build the one linear layer, behind the scaling."""
        from ...networks.linear import load_linear

        mean, std, scale = self.scaling
        return load_linear(self.checkpoint.folder, "vision_embed_tokens", scale / std, -mean / std)

    @property
    def scaling(self) -> tuple[float, float, float]:
        """Mean, deviation and scale: the network sees (pixel * scale - mean) / std."""
        processor = self.checkpoint.processor
        mean, std = _first_number(processor.get("image_mean", 0.5)), _first_number(processor.get("image_std", 0.5))
        return mean, std, float(processor.get("rescale_factor", 1 / 255))

    @property
    def _max_size(self) -> tuple[int, int]:
        size = self.checkpoint.processor.get("size") or {"height": 1080, "width": 1920}  # FuyuImageProcessor's default
        return int(size["height"]), int(size["width"])

    def _cut_patches(self, picture: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        height, width = picture.shape[:2]
        factor = min(self._max_size[0] / height, self._max_size[1] / width)
        if factor < 1:
            # Rounded down, as FuyuImageProcessor does.
            height, width = max(1, int(height * factor)), max(1, int(width * factor))
            picture = resize(picture, height, width, "bilinear")
        side = self.patch
        rows, columns = -(-height // side), -(-width // side)
        picture = np.pad(picture, ((0, rows * side - height), (0, columns * side - width), (0, 0)), constant_values=PAD)
        # (rows, columns, P, P, 3) before the last step.
        cut = picture.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(rows * columns, -1)
        return cut, (rows, columns)


def patch_order(rows: int, columns: int) -> np.ndarray:
    """Return the order in which Fuyu's language model reads an image: patch numbers, with NEWLINE after each row.

    >>> patch_order(2, 2).tolist()
    [0, 1, -1, 2, 3, -1]
    """
    numbers = np.arange(rows * columns).reshape(rows, columns)
    return np.pad(numbers, ((0, 0), (0, 1)), constant_values=NEWLINE).ravel()


def _first_number(value: Any) -> float:
    """Return a number for all channels, which may be written as a list."""
    return float(value[0] if isinstance(value, list) else value)
