"""Encode windows of video with VideoMAE and TimeSformer: one vector, and a grid of patches in time and space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...types import Clip, Inputs
from ...weights.checkpoint import Checkpoint
from .base import ImageTransformer, TokenGrid
from .classifier import WithClassifier

if TYPE_CHECKING:
    import torch


class VideoMae(WithClassifier, ImageTransformer):
    """Tong et al. 2022 (arXiv 2203.12602): 16 frames, every fourth of 30 a second. The mean of all patches."""

    pools: ClassVar[tuple[str, ...]] = ("mean",)
    processor = "VideoMAEImageProcessor"
    model: ClassVar[str] = "VideoMAEModel"
    head_classes: ClassVar[tuple[str, ...]] = ("VideoMAEForVideoClassification",)
    rate: ClassVar[float] = 7.5
    """Frames a second that its authors sampled; no file of a checkpoint says it."""

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the fields of a Spec that the settings of a checkpoint tell, without its weights."""
        return {"kind": "video", "rate": cls.rate, "window": checkpoint.config["num_frames"] / cls.rate,
                "dim": checkpoint.config["hidden_size"], "pool": cls.pools[0],
                "size": cls.read_processor(checkpoint).side}  # fmt: skip

    @property
    def frames(self) -> int:
        """Frames in a window."""
        return int(self.config["num_frames"])

    @property
    def grid(self) -> TokenGrid:
        """Times, rows, columns."""
        depth = int(self.config.get("tubelet_size", 2))  # frames in a patch; 2 is transformers' default
        return TokenGrid(("time", "row", "column"), (self.frames // depth, *super().grid.shape), depth / self.spec.rate)

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Turn windows into {"pixels": (B, F, H, W, 3) uint8}. A short window repeats its last frame to the end."""
        if not clips:
            raise ValueError(f"{self.spec.name}: expected at least one clip, got none")
        return {"pixels": np.stack([self._prepare_window(clip) for clip in clips])}

    def example(self) -> Inputs:
        """Return noise of the right shape."""
        shape = (1, self.frames, *self.pixels.output, 3)
        return {"pixels": np.random.default_rng(0).integers(0, 256, shape, np.uint8)}

    def build(self) -> torch.nn.Module:
        """Build the model behind the normalising."""
        from ...weights import pretrained

        settings = self.call_kwargs
        model = pretrained.load_pretrained(self.model, self.checkpoint.folder)
        return pretrained.WrappedModel(model, lambda m, pixels: m(pixels, **settings).last_hidden_state, self.first)

    @property
    def call_kwargs(self) -> dict[str, Any]:
        """No argument; ValueError where images are not of the model's own size, to which its positions are bound."""
        if self.is_resized:
            size = self._vision_config["image_size"]
            raise ValueError(f"{self.spec.name}: expected images of its own size, {size}, got {self.pixels.output}")
        return {}

    def _prepare_window(self, clip: Clip) -> np.ndarray:
        count = clip.length if clip.valid is None else clip.valid
        if clip.kind != "video" or not 0 < count <= self.frames or abs(clip.rate - self.spec.rate) > 1e-6:
            raise ValueError(
                f"{self.spec.name}: expected video of 1 to {self.frames} frames at {self.spec.rate:g} a second, "
                f"got {clip}: sample it with percepts.windows.sample_frames({self.spec.rate:g}) "
                f"and cut it with cut_fixed_windows({self.spec.window:g})"
            )
        pixels = [self.pixels(frame) for frame in clip.data[:count]]
        return np.stack(pixels + pixels[-1:] * (self.frames - count))


class TimeSformer(VideoMae):
    """Bertasius et al. 2021 (arXiv 2102.05095): 8 frames, every 32nd of 30 a second. The class token.

    transformers stretches the positions in time, saying nothing, when the frames are more or fewer than it was trained
    on; here a window always has as many.
    """

    pools = ("cls", "mean")
    prefix = 1
    model = "TimesformerModel"
    head_classes: ClassVar[tuple[str, ...]] = ("TimesformerForVideoClassification",)
    rate = 30 / 32

    @property
    def grid(self) -> TokenGrid:
        """Rows, columns, times: time varies fastest."""
        _, rows, columns = super().grid.shape
        return TokenGrid(("row", "column", "time"), (rows, columns, self.frames), 1 / self.spec.rate)
