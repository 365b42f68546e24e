"""Measure mean and deviation of log filter banks, exactly in one pass or as AST's authors did."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from ..media import Source, mix_to_mono, stream_audio
from ..preprocess.fbank import AST_RATE, FbankOptions, kaldi_fbank
from ..preprocess.resample import resample


@dataclass(frozen=True, slots=True)
class NormStats:
    """Mean and standard deviation over `frames` spectra of audio."""

    mean: float
    std: float
    frames: int


def compute_norm_stats(
    sources: Iterable[Source],
    *,
    n_mels: int = 128,
    max_length: int = 1024,
    way: Literal["exact", "authors"] = "exact",
    batch: int = 1000,
) -> NormStats:
    """Measure the mean and deviation that AST's inputs are normalised with, on audio of your own.

    "exact": over every frame of audio and nothing else, with one file in memory at a time; sums are merged as Chan
    does. "authors": as get_norm_stats.py, which cuts or fills every file to `max_length` frames with zeros and takes
    the mean of the means and deviations of batches, so that the result depends on their size and on how short the files
    are; without the masking and mixing that the committed script has switched on. ValueError where there is no audio.
    """
    if way not in ("exact", "authors"):
        raise ValueError(f"expected way to be exact or authors, got {way!r}")
    spectra = (
        kaldi_fbank(wave, AST_RATE, FbankOptions(n_mels=n_mels)) for wave in map(read_waveform, sources) if len(wave)
    )
    found = _exact_stats(spectra) if way == "exact" else _published_recipe_stats(spectra, max_length, batch)
    if not found.frames:
        raise ValueError("expected recordings with sound, got none")
    return found


def read_waveform(source: Source, rate: int = AST_RATE) -> np.ndarray:
    """Return the samples of a source, (N,) float32, mixed down and at that rate."""
    blocks = [clip.data[0] for clip in resample(map(mix_to_mono, stream_audio(source)), rate)]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _exact_stats(spectra: Iterable[np.ndarray]) -> NormStats:
    count = frames = 0
    mean = square = 0.0
    for values in spectra:
        size, there = values.size, float(values.mean(dtype=np.float64))
        # Chan, Golub & LeVeque 1983: merging means loses no digits, as a sum of squares would.
        apart = there - mean
        square += float(np.square(values - there, dtype=np.float64).sum()) + apart**2 * count * size / (count + size)
        mean += apart * size / (count + size)
        count, frames = count + size, frames + len(values)
    return NormStats(mean, math.sqrt(square / count) if count else 0.0, frames)


def _published_recipe_stats(spectra: Iterable[np.ndarray], max_length: int, batch: int) -> NormStats:
    """Measure as the authors do; torch.std divides by n - 1."""
    found, frames, stream = list[tuple[float, float]](), 0, iter(spectra)
    while group := list(islice(_fill_to_length(stream, max_length), batch)):
        # (batch, max_length, n_mels), zeros of the padding among them.
        values = np.stack(group)
        found.append((float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64, ddof=1))))
        frames += values.shape[0] * values.shape[1]
    means = np.mean(found, axis=0) if found else (0.0, 0.0)
    return NormStats(float(means[0]), float(means[1]), frames)


def _fill_to_length(spectra: Iterator[np.ndarray], length: int) -> Iterator[np.ndarray]:
    for values in spectra:
        yield np.pad(values[:length], [(0, max(0, length - len(values))), (0, 0)])
