"""Describe how audio changes: log-mel mean and deviation in 8 segments of a window, 512 numbers, no weights.

A window of four seconds: long enough for people to name everyday sounds (Chu et al. 2009, the reason why the clips of
UrbanSound8K have that length) and short enough that a hit in a long recording is a place. 25 ms frames every 10 ms and
32 bands, as is usual for speech at 16 kHz. Spoken digits (FSDD), logistic regression, each speaker held out in turn:
75 % right; means alone 68 %, 64 bands 71 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ...preprocess.mel import MelOptions, log_mel
from ...types import Clip, Features, Inputs, Spec
from ..validation import check_clips

SEGMENTS, BANDS = 8, 32
FRAME, HOP = 400, 160  # samples at 16 kHz
FLOOR = 1e-8  # of the power in a band: quieter is silence
TYPICAL = 0.7  # a band's usual deviation in speech (FSDD), in nepers of power: taken off, or cosines would all be high


class MelStats:
    """Log-mel statistics. All work is in `prepare`, which may run in another process; `encode` passes it on."""

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        self.spec = spec

    @property
    def runtime(self) -> str:
        """Always "numpy": there is no network."""
        return "numpy"

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Turn mono clips of any length at 16 kHz into {"stats": (B, 8, 64) float32}; padding is not counted."""
        check_clips(clips, "audio", self.spec)
        return {"stats": np.stack([_compute_stats(clip) for clip in clips])}

    def encode(self, inputs: Inputs) -> Features:
        """Return (B, 8, 64) features: the 32 means and then the 32 deviations of each segment.

        The segments divide what a clip holds, padding apart, so their length differs and `step` is 0.
        """
        stats = inputs["stats"]
        return Features(stats, np.ones(stats.shape[:2], bool), 0.0)


def _compute_stats(clip: Clip) -> np.ndarray:
    """Return the (8, 64) statistics of a clip, less its mean level, so that louder audio gives the same numbers."""
    samples = clip.data[0, : clip.valid]  # valid is None where there is no padding: all of them
    if not len(samples):
        raise ValueError(f"melstats: expected samples, got only padding ({clip.source})")
    options = MelOptions(n_fft=FRAME, hop=HOP, n_mels=BANDS)
    mel = log_mel(samples, clip.rate, options, log="ln", floor=FLOOR)  # (32, T)
    stretches = [mel[:, first:last] for first, last in _segment_bounds(mel.shape[1])]
    # (8, 32), as are the deviations.
    means = np.stack([stretch.mean(axis=1, dtype=np.float64) for stretch in stretches])
    deviations = np.stack([stretch.std(axis=1, dtype=np.float64) for stretch in stretches])
    return np.concatenate([means - means.mean(), deviations - TYPICAL], axis=1).astype(np.float32)


def _segment_bounds(count: int) -> list[tuple[int, int]]:
    """Return the first and last of `count` frames in each segment; fewer frames than segments are used repeatedly."""
    edges = [i * count // SEGMENTS for i in range(SEGMENTS + 1)]
    return [(first, max(first + 1, last)) for first, last in pairwise(edges)]
