"""Stack clips of audio into rows, and check the settings of checkpoints for audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import WeightsError
from ...types import Clip
from ...weights.checkpoint import Checkpoint


def stack_samples(clips: Sequence[Clip], longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return checked clips as (B, N) float32 with zeros after each, and (B,) lengths. ValueError beyond `longest`."""
    lengths = np.array([clip.length if clip.valid is None else clip.valid for clip in clips], np.int64)
    if lengths.max() > longest:
        raise ValueError(
            f"expected clips of at most {longest} samples ({longest / clips[0].rate:g} s), got {lengths.max()}: "
            "cut them into windows first"
        )
    if lengths.min() < 1:
        raise ValueError("expected clips that hold audio, got one of padding only")
    samples = np.zeros((len(clips), max(clip.length for clip in clips)), np.float32)
    for row, clip, length in zip(samples, clips, lengths, strict=True):
        row[:length] = clip.data[0, :length]  # check_clips has refused more channels
    return samples, lengths


def read_rate(checkpoint: Checkpoint, usual: float) -> float:
    """Return the sampling rate in Hz, from the settings of preprocessing."""
    return float(checkpoint.processor.get("sampling_rate") or usual)  # null counts as absent, too


def check_equal(checkpoint: Checkpoint, what: str, made: Any, taken: Any) -> None:
    """Raise WeightsError unless the features and the network agree on a number."""
    if made != taken:
        raise WeightsError(
            f"{checkpoint.folder}: {what} is {made} in preprocessor_config.json and {taken} in config.json: one is "
            "not of this checkpoint"
        )
