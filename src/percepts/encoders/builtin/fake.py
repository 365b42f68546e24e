"""Encoders for tests, ours and yours: no weights, no network, a vector is a simple function of the content.

`FakeImage` knows eight colours and their names, so that text finds pictures with nothing downloaded; `FakeAudio` hears
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
        """Always numpy."""
        return "numpy"

    def check(self, item: np.ndarray) -> None:
        """Called with the inputs of each item before it is encoded; raise here to play a model that fails on it."""

    def _make_features(self, items: np.ndarray, one: np.ndarray) -> Features:
        return Features(one[:, None], np.ones((len(items), 1), bool), 0.0)


class FakeImage(_Fake):
    """Pictures to (B, 1, 8): the share of each of COLOURS, each pixel a blend of the cube's corners around it."""

    logit_scale = LogitScale(10.0)
    template = "{}"

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """The mean blend of every pixel, (B, 8) float32."""
        check_clips(clips, "image", self.spec)
        return {"colours": np.stack([_blend_corners(clip.data[0]) for clip in clips])}

    def encode(self, inputs: Inputs) -> Features:
        """The blends, as they came."""
        items = inputs["colours"]
        for item in items:
            self.check(item)
        return self._make_features(items, items)

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """The colours a text names, in equal shares; without any, all eight."""
        return normalise(np.stack([_find_colours(text) for text in texts]))


class FakeAudio(_Fake):
    """Sound to (B, 1, 8): the root mean square of each eighth of the clip, padding not counted."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Loudness of the eighths, (B, 8) float32."""
        check_clips(clips, "audio", self.spec)
        return {"loudness": np.stack([_measure_loudness(clip) for clip in clips])}

    def encode(self, inputs: Inputs) -> Features:
        """The loudness, as it came."""
        items = inputs["loudness"]
        for item in items:
            self.check(item)
        return self._make_features(items, items)


def _blend_corners(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 to the mean trilinear weights of the eight corners."""
    red, green, blue = (pixels[..., channel].astype(np.float64) / 255 for channel in range(3))
    weights = [
        (red if i & 4 else 1 - red) * (green if i & 2 else 1 - green) * (blue if i & 1 else 1 - blue) for i in range(8)
    ]
    return np.array([weight.mean() for weight in weights], np.float32)


def _measure_loudness(clip: Clip) -> np.ndarray:
    samples = clip.data[:, clip.mask].astype(np.float64)
    parts = np.array_split(samples, 8, axis=1)
    return np.array([np.sqrt((part * part).mean()) if part.size else 0.0 for part in parts], np.float32)


def _find_colours(text: str) -> np.ndarray:
    words = set(re.findall(r"[a-z]+", text.lower()))
    found = np.array([colour in words for colour in COLOURS], np.float32)
    return found if found.any() else np.ones(8, np.float32)
