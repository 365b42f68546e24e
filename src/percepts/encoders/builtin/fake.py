"""Encode without weights or a network, for tests: a vector is a simple function of the content.

`FakeImage` knows eight colours and their names, so that text finds images with nothing downloaded. `FakeAudio` measures
how loud each eighth of a clip is. To inject a fault, override `check` and register the class under a name of your own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ...types import Clip, Features, Inputs, Spec
from ..pooling import normalise
from ..scores import LogitScale
from ..validation import check_clips

COLOURS = ("black", "blue", "green", "cyan", "red", "magenta", "yellow", "white")
"""The corners of the RGB cube; corner i has red, green, blue = the bits of i."""


class _Fake:
    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        self.spec = spec

    @property
    def runtime(self) -> str:
        """Always "numpy": there is no network."""
        return "numpy"

    def check(self, item: np.ndarray) -> None:
        """Do nothing; called with the inputs of each item. Override it to raise, as a model that fails on the item."""

    def _make_features(self, items: np.ndarray, one: np.ndarray) -> Features:
        return Features(one[:, None], np.ones((len(items), 1), bool), 0.0)


class FakeImage(_Fake):
    """Images as (B, 1, 8): the share of each of COLOURS; a pixel is a blend of the cube's corners around it."""

    logit_scale = LogitScale(10.0)
    template = "{}"

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Return {"colours": (B, 8) float32}, the mean blend of all pixels."""
        check_clips(clips, "image", self.spec)
        return {"colours": np.stack([_blend_corners(clip.data[0]) for clip in clips])}

    def encode(self, inputs: Inputs) -> Features:
        """Return the blends as they came."""
        items = inputs["colours"]
        for item in items:
            self.check(item)
        return self._make_features(items, items)

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Return the colours that each text names, in equal shares; all eight where it names none."""
        return normalise(np.stack([_find_colours(text) for text in texts]))


class FakeAudio(_Fake):
    """Audio as (B, 1, 8): the root mean square of each eighth of the clip, padding not counted."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Return {"loudness": (B, 8) float32}, of the eighths of each clip."""
        check_clips(clips, "audio", self.spec)
        return {"loudness": np.stack([_measure_loudness(clip) for clip in clips])}

    def encode(self, inputs: Inputs) -> Features:
        """Return the loudness as it came."""
        items = inputs["loudness"]
        for item in items:
            self.check(item)
        return self._make_features(items, items)


def _blend_corners(pixels: np.ndarray) -> np.ndarray:
    """Return the mean trilinear weights of the eight corners, of (H, W, 3) uint8 pixels."""
    red, green, blue = (pixels[..., channel].astype(np.float64) / 255 for channel in range(3))
    weights = [
        (red if i & 4 else 1 - red) * (green if i & 2 else 1 - green) * (blue if i & 1 else 1 - blue) for i in range(8)
    ]
    return np.array([weight.mean() for weight in weights], np.float32)


def _measure_loudness(clip: Clip) -> np.ndarray:
    samples = clip.data[:, clip.mask].astype(np.float64)
    # Below eight samples some parts are empty, and a mean of none would be NaN.
    parts = np.array_split(samples, 8, axis=1)
    return np.array([np.sqrt((part * part).mean()) if part.size else 0.0 for part in parts], np.float32)


def _find_colours(text: str) -> np.ndarray:
    words = set(re.findall(r"[a-z]+", text.lower()))
    found = np.array([colour in words for colour in COLOURS], np.float32)
    return found if found.any() else np.ones(8, np.float32)
