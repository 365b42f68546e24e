"""Compute Kaldi filter banks of mono audio: (B, N) → (B, T, M).

Each row is computed by itself, so no row depends on its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from .bands import Bands, as_rows, band_power, build_bands, build_triangles

Window = Literal["hanning", "povey", "hamming"]
Pad = Literal["zero", "floor"]

FLOOR = float(np.finfo(np.float32).eps)
AST_RATE = 16_000
AST_MEAN, AST_STD = -4.2677393, 4.5689974
"""Mean and deviation of AudioSet's log filter banks: Gong et al. 2021, https://github.com/YuanGongND/ast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FbankOptions:
    """Options of `kaldi_fbank`, with the defaults of AST.

    n_mels       number of mel bands
    frame, hop   seconds, rounded down to samples as Kaldi does
    window       the window function of a frame
    preemphasis  fraction of the sample before that is subtracted from each sample
    low, high    band edges in Hz; `high` None is rate / 2
    floor        smaller powers count as this one
    """

    n_mels: int = 128
    frame: float = 0.025
    hop: float = 0.010
    window: Window = "hanning"
    preemphasis: float = 0.97
    low: float = 20.0
    high: float | None = None
    floor: float = FLOOR

    def __post_init__(self) -> None:
        if self.window not in get_args(Window):
            raise ValueError(f"expected window to be one of {', '.join(get_args(Window))}, got {self.window!r}")


_AST = FbankOptions()


def kaldi_fbank(samples: np.ndarray, rate: float = 16_000, options: FbankOptions = _AST) -> np.ndarray:
    """Return log mel power as Kaldi's compute-fbank-feats computes it: (B, T, n_mels) or (T, n_mels) float32.

    From each frame its mean is subtracted, then follow pre-emphasis and window; the length of the transform is the next
    power of two. No dither, no padded edges: T = 1 + (N - frame) // hop, and audio shorter than one frame is filled
    with zeros to one. Kaldi itself works on 16-bit integers; AST and most others leave samples in [-1, 1], as here.

    samples   (B, N) or (N,) floats, each row mono audio. Two channels would be two rows: mix them down first

    Raises ValueError for integers, whose scale would be wrong, and for no samples.

    >>> kaldi_fbank(np.zeros(16_000, np.float32)).shape
    (98, 128)
    """
    rows = as_rows(samples)
    length, step = int(rate * options.frame), int(rate * options.hop)
    if step < 1 or length < 2 or options.n_mels < 1:
        raise ValueError(f"expected frame, hop and n_mels above 0 at {rate:g} Hz, got {options}")
    # Symmetric windows, as Kaldi has them, where log-mel takes periodic ones.
    taper = _WINDOWS[options.window](length).astype(np.float32)
    bank = _build_kaldi_bands(float(rate), _next_power_of_two(length), options.n_mels, float(options.low), options.high)
    out = np.stack([_compute_fbank(row, step, taper, bank, options.preemphasis, options.floor) for row in rows])
    return out[0] if samples.ndim == 1 else out


def ast_features(
    samples: np.ndarray,
    valid: Sequence[int] | None = None,
    *,
    n_mels: int = 128,
    max_length: int = 1024,
    mean: float = AST_MEAN,
    std: float = AST_STD,
    pad: Pad = "zero",
) -> tuple[np.ndarray, np.ndarray]:
    """Return the Audio Spectrogram Transformer's input: (B, max_length, n_mels) float32, and a (B, max_length) mask.

    `kaldi_fbank` at 16 kHz, padded to `max_length` frames, then (x - mean) / (2 std). The mask is True where a frame
    holds audio.

    samples   (B, N) or (N,) floats; a single row gives a batch of one
    valid     how many samples of each row are audio (a clip's own `valid`); the rest of the row is ignored
    max_length   frames the model takes, by its position embeddings: another number needs them interpolated
    pad       what follows the audio. "zero" puts 0 where a log energy would be, before normalisation, as AST was
              trained: it becomes +0.467 and so lies above the mean of AudioSet. "floor" puts digital silence, -1.278

    Raises ValueError for audio of more than max_length frames: cut it into windows of 10.24 s first.

    >>> values, mask = ast_features(np.zeros((2, 16_000), np.float32), valid=[16_000, 8_000])
    >>> values.shape, mask.sum(axis=1)
    ((2, 1024, 128), array([98, 48]))
    """
    rows = as_rows(samples)
    counts = [rows.shape[1]] * len(rows) if valid is None else list(valid)
    if len(counts) != len(rows) or not all(0 <= count <= rows.shape[1] for count in counts):
        raise ValueError(f"expected valid to hold {len(rows)} counts of 0 to {rows.shape[1]} samples, got {valid}")
    if pad not in _PADS:
        raise ValueError(f"expected pad to be one of {', '.join(_PADS)}, got {pad!r}")
    values = np.full((len(rows), max_length, n_mels), _PADS[pad], np.float32)
    mask = np.zeros((len(rows), max_length), bool)
    for i, (row, count) in enumerate(zip(rows, counts, strict=True)):
        if count:
            frames = kaldi_fbank(row[:count], AST_RATE, FbankOptions(n_mels=n_mels))
            _check_fits(len(frames), max_length)
            values[i, : len(frames)] = frames
            mask[i, : len(frames)] = True
    values -= np.float32(mean)
    values /= np.float32(2 * std)
    return values, mask


def _compute_fbank(
    row: np.ndarray, step: int, taper: np.ndarray, bank: Bands, preemphasis: float, floor: float
) -> np.ndarray:
    """Compute (T, M) of one row (N,). The steps of a frame are linear, so the pre-emphasis is made once for the row.

    With m the mean of a frame and a the pre-emphasis, (x[i] - m) - a (x[i-1] - m) = (x[i] - a x[i-1]) - (1 - a) m;
    the first sample of a frame has itself before it, (1 - a) (x[0] - m).
    """
    length, keep = len(taper), np.float32(1 - preemphasis)
    row = np.pad(row, (0, max(length - len(row), 0)))
    emphasised = row * keep
    emphasised[1:] = row[1:] - np.float32(preemphasis) * row[:-1]
    plain, steep = (np.lib.stride_tricks.sliding_window_view(x, length)[::step] for x in (row, emphasised))
    means = plain.mean(axis=1)
    first = keep * (plain[:, 0] - means)
    power = band_power(steep, taper, _next_power_of_two(length), bank, less=keep * means, first=first)
    out: np.ndarray = np.maximum(power.T, np.float32(floor), order="C")
    np.log(out, out=out)
    return out


def _check_fits(frames: int, max_length: int) -> None:
    """Raise ValueError for more frames than the model takes."""
    if frames > max_length:
        raise ValueError(
            f"expected at most {max_length} frames ({max_length / 100:g} s), got {frames}: "
            f"cut it first, with percepts.windows.cut_fixed_windows({max_length / 100:g})"
        )


@lru_cache(maxsize=8)
def _build_kaldi_bands(rate: float, n_fft: int, n_mels: int, low: float, high: float | None) -> Bands:
    """Build Kaldi's triangles, which are straight on the mel scale and not in Hz."""
    high = rate / 2 if high is None else high
    if not 0 <= low < high <= rate / 2:
        raise ValueError(f"expected 0 <= low < high <= {rate / 2:g} Hz, got {low = } {high = }")
    # The bins are placed in mel, too: that is what makes the triangles straight there.
    first, last = _hz_to_mel(np.array([low, high]))
    bins, edges = _hz_to_mel(np.linspace(0.0, rate / 2, 1 + n_fft // 2)), np.linspace(first, last, n_mels + 2)
    return build_bands(build_triangles(bins, edges), bins, edges)


def _hz_to_mel(hz: np.ndarray) -> np.ndarray:
    """Convert Hz to HTK's mel scale, as Kaldi does."""
    mel: np.ndarray = 1127 * np.log(1 + hz / 700)  # 2595 / ln 10, rounded as in Kaldi's mel-computations.h
    return mel


def _next_power_of_two(length: int) -> int:
    """Return the smallest power of two that is not below `length`."""
    return 1 << (length - 1).bit_length()


# Povey's window is Kaldi's own: Hann to the power of 0.85, which goes to zero at the edges.
_WINDOWS = {"hanning": np.hanning, "povey": lambda n: np.hanning(n) ** 0.85, "hamming": np.hamming}
_PADS = {"zero": 0.0, "floor": float(np.log(FLOOR))}
