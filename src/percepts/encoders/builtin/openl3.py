"""Encode one second of audio, or an image, as the grid of OpenL3's last layer.

Cramer, Wu, Salamon, Bello: Look, Listen, and Learn More (ICASSP 2019). openl3's own functions are in interop/openl3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...networks.openl3.plan import PUBLISHED, OpenL3Weights, PublishedModel
from ...networks.openl3.runner import LazyGrid
from ...preprocess.openl3 import spectrogram
from ...preprocess.openl3_pixels import crop_centre, scale_to_trained_range
from ...types import Clip, Features, Inputs, Spec
from ...weights import openl3
from ..validation import check_clips


class _OpenL3:
    """A published network; `encode` gives the whole grid, which pooling makes the large vector or the small one."""

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        self.spec = spec
        self.model = _find_published(spec.weights[0])
        self.file: Path | None = None  # of weights; None: found by name
        self._run = LazyGrid(self._load, self.model.shape, runtime, threads)

    @property
    def runtime(self) -> str:
        """Runtime that runs it."""
        return self._run.runtime

    def encode(self, inputs: Inputs) -> Features:
        """Return (B, 12, 512) for audio, four rows of frequency by three columns of time; (B, 16, 512) for images."""
        grids = self._run(self._network_input(inputs))
        return Features(grids, np.ones(grids.shape[:2], bool), 0.0)

    def _network_input(self, inputs: Inputs) -> np.ndarray:
        return inputs["x"]

    def _load(self) -> OpenL3Weights:
        return openl3.read_weights(self.file or openl3.local_path(self.model), self.model.modality)


class OpenL3Audio(_OpenL3):
    """Audio at 48 kHz, a second at a time, by the default frontend of openl3 0.4."""

    frontend = "kapre"

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Turn windows into {"x": (B, 1, F, T) float32 decibels}. Other lengths are cut or filled with zeros."""
        check_clips(clips, "audio", self.spec)
        windows = np.zeros((len(clips), int(self.spec.rate * self.spec.window)), np.float32)
        for window, clip in zip(windows, clips, strict=True):
            heard = clip.data[0, : min(clip.length if clip.valid is None else clip.valid, len(window))]
            window[: len(heard)] = heard
        return {"x": spectrogram(windows, self.model.input_repr, self.frontend)[:, None]}


class OpenL3Image(_OpenL3):
    """Images of any size: shorter side to 256, the middle 224, from -1 to 1 as in training."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Resize images or single frames to {"pixels": (B, 224, 224, 3) uint8}."""
        check_clips(clips, "image", self.spec)
        return {"pixels": np.stack([crop_centre(clip.data[0]) for clip in clips])}

    def _network_input(self, inputs: Inputs) -> np.ndarray:
        return scale_to_trained_range(inputs["pixels"]).transpose(0, 3, 1, 2)  # (B, 3, 224, 224)


def _find_published(name: str) -> PublishedModel:
    return next(model for model in PUBLISHED if model.name == name)
