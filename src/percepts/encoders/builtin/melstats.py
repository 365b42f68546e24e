"""Sound → how it goes: log-mel mean and deviation in 8 stretches of the window, 512 numbers, no weights.

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
    """All its work is in `prepare`, which may run in another process; `encode` passes on what it made."""

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        self.spec = spec

    @property
    def runtime(self) -> str:
        """Always numpy."""
        return "numpy"

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Mono clips of any length at 16 kHz to {"stats": (B, 8, 64) float32}; padding is not looked at."""
        check_clips(clips, "audio", self.spec)
        return {"stats": np.stack([_compute_stats(clip) for clip in clips])}

    def encode(self, inputs: Inputs) -> Features:
        """(B, 8, 64): per stretch the 32 means, then the 32 deviations.

        The stretches divide what the clip holds, padding apart, so their length differs and `step` is 0.
        """
        stats = inputs["stats"]
        return Features(stats, np.ones(stats.shape[:2], bool), 0.0)


def _compute_stats(clip: Clip) -> np.ndarray:
    """One clip to (8, 64). The clip's mean level is taken off: the same sound, louder, is the same sound."""
    samples = clip.data[0, : clip.valid]
    if not len(samples):
        raise ValueError(f"melstats: expected samples, got only padding ({clip.source})")
    options = MelOptions(n_fft=FRAME, hop=HOP, n_mels=BANDS)
    mel = log_mel(samples, clip.rate, options, log="ln", floor=FLOOR)  # (32, T)
    stretches = [mel[:, first:last] for first, last in _segment_bounds(mel.shape[1])]
    means = np.stack([stretch.mean(axis=1, dtype=np.float64) for stretch in stretches])
    deviations = np.stack([stretch.std(axis=1, dtype=np.float64) for stretch in stretches])
    return np.concatenate([means - means.mean(), deviations - TYPICAL], axis=1).astype(np.float32)


def _segment_bounds(count: int) -> list[tuple[int, int]]:
    """First and last of `count` frames in each stretch; fewer frames than stretches are used more than once."""
    edges = [i * count // SEGMENTS for i in range(SEGMENTS + 1)]
    return [(first, max(first + 1, last)) for first, last in pairwise(edges)]
