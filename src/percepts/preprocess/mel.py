"""Mono sound in, mel spectrograms out: (B, N) → (B, M, T), row by row, so that no row depends on its batch."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from .bands import Bands, as_rows, band_power, build_bands, build_triangles

Scale = Literal["slaney", "htk"]
"""Hz to mel: Slaney's Auditory Toolbox (linear to 1 kHz, then logarithmic) or HTK's 2595 log10(1 + f / 700)."""
Norm = Literal["slaney"] | None
"""Triangles of equal area (slaney) or of equal height (None)."""
Log = Literal["log10", "ln", "db"]
Pad = Literal["zero", "reflect"]

FLOOR = 1e-10

WHISPER_RATE, WHISPER_N_FFT, WHISPER_HOP = 16_000, 400, 160
"""Radford et al. 2022, section 2.2: 80 mels over 25 ms windows every 10 ms, at 16 kHz; large-v3 took 128 mels."""


def log_mel(
    samples: np.ndarray,
    rate: float,
    *,
    n_fft: int = 1024,
    hop: int = 512,
    n_mels: int = 64,
    low: float = 0.0,
    high: float | None = None,
    scale: Scale = "slaney",
    norm: Norm = "slaney",
    power: float = 2.0,
    log: Log = "log10",
    floor: float = FLOOR,
    center: bool = True,
    pad: Pad = "zero",
) -> np.ndarray:
    """Logarithm of `mel_spectrogram`, which says what the arguments mean; (B, n_mels, T) or (n_mels, T) float32.

    Values below `floor` count as `floor`. `log="db"` is 10 log10, decibels of a power, with no reference and no range.

    >>> log_mel(np.zeros(16_000, np.float32), 16_000, n_fft=400, hop=160, n_mels=40).shape
    (40, 101)
    """
    if log not in _LOGS:
        raise ValueError(f"expected log to be one of {', '.join(_LOGS)}, got {log!r}")
    mel = mel_spectrogram(
        samples, rate, n_fft=n_fft, hop=hop, n_mels=n_mels, low=low, high=high, scale=scale, norm=norm, power=power,
        center=center, pad=pad,
    )  # fmt: skip
    return _take_logarithm(mel, log, floor)


def mel_spectrogram(
    samples: np.ndarray,
    rate: float,
    *,
    n_fft: int = 1024,
    hop: int = 512,
    n_mels: int = 64,
    low: float = 0.0,
    high: float | None = None,
    scale: Scale = "slaney",
    norm: Norm = "slaney",
    power: float = 2.0,
    center: bool = True,
    pad: Pad = "zero",
) -> np.ndarray:
    """Mel bands of the short-time spectrum under a periodic Hann window; (B, n_mels, T) or (n_mels, T) float32.

    samples   (B, N) or (N,) floats: B mono sounds. Two channels are two sounds here: mix them down first
    n_fft     samples in a frame and in its transform; `hop` samples lie between the starts of two frames
    low, high band edges in Hz; `high` None is rate / 2
    power     2.0 for power, 1.0 for magnitude
    center    frame t is centred on sample t * hop and T = 1 + N // hop; the ends are padded with zeros or a mirror
              image (`pad`). Else frame t begins at t * hop and T = 1 + (N - n_fft) // hop, and sound shorter than a
              frame is filled with zeros to one frame

    With the defaults of `center` and `pad` this is librosa's melspectrogram.
    Raises ValueError for integers, which would be out of scale, for no samples, and for sizes below 1.

    >>> mel_spectrogram(np.ones((2, 1000), np.float32), 16_000, n_fft=400, hop=160, n_mels=40, center=False).shape
    (2, 40, 4)
    """
    rows = as_rows(samples)
    if min(n_fft, hop, n_mels) < 1:
        raise ValueError(f"expected n_fft, hop and n_mels above 0, got {n_fft = } {hop = } {n_mels = }")
    if pad not in _PADS:
        raise ValueError(f"expected pad to be one of {', '.join(_PADS)}, got {pad!r}")
    bank = _build_mel_bands(float(rate), n_fft, n_mels, float(low), high, scale, norm)
    out = np.stack(
        [_compute_mel(_pad_edges(row, n_fft, center, pad), hop, _hann_window(n_fft), bank, power) for row in rows]
    )
    return out[0] if samples.ndim == 1 else out


def whisper_log_mel(samples: np.ndarray, n_mels: int = 80, *, seconds: float | None = 30.0) -> np.ndarray:
    """Give Whisper's input features of sound at 16 kHz: (B, n_mels, T) or (n_mels, T) float32, 100 frames a second.

    Log10 of the mel power, at most 8 (80 dB) below the loudest value of that sound, then (x + 4) / 4.

    `seconds` is what the encoder was trained to look at: shorter sound is filled up with zeros, as Whisper does, and
    longer sound is an error rather than cut off in silence. Give another number only to a model whose positions were
    changed to match. None fills nothing, and N need then be no multiple of the hop (T = N // 160).
    Only what holds sound is computed: five seconds cost a sixth of thirty.

    n_mels    80, and 128 for large-v3 and turbo

    >>> whisper_log_mel(np.zeros(80_000, np.float32)).shape
    (80, 3000)
    """
    rows = as_rows(samples)
    total = rows.shape[1] if seconds is None else round(seconds * WHISPER_RATE)
    if rows.shape[1] > total:
        raise ValueError(
            f"expected at most {total} samples ({seconds:g} s at {WHISPER_RATE} Hz), got {rows.shape[1]}: "
            f"cut it first, with windows.fixed({seconds:g})"
        )
    if total < WHISPER_HOP:
        raise ValueError(f"expected at least {WHISPER_HOP} samples, got {total}")
    bank = _build_mel_bands(float(WHISPER_RATE), WHISPER_N_FFT, n_mels, 0.0, WHISPER_RATE / 2, "slaney", "slaney")
    out = np.stack([_compute_whisper_mel(row, total, bank) for row in rows])
    return out[0] if samples.ndim == 1 else out


def mel_filters(
    rate: float,
    n_fft: int,
    n_mels: int,
    *,
    low: float = 0.0,
    high: float | None = None,
    scale: Scale = "slaney",
    norm: Norm = "slaney",
) -> np.ndarray:
    """Triangles that sum the bins of a spectrum into mel bands: (n_mels, 1 + n_fft // 2) float64.

    Equal to librosa.filters.mel and to transformers' mel_filter_bank. Bands narrower than a bin may be all zeros.

    >>> mel_filters(16_000, 400, 80).shape
    (80, 201)
    """
    return _triangles(rate, n_fft, n_mels, low, high, scale, norm)[0]


def mel_bands(rate: float, n_fft: int, n_mels: int, scale: Scale = "slaney") -> Bands:
    """`mel_filters` up to half the rate, as two weights a bin: sums in float32, and the same bits always."""
    return _build_mel_bands(float(rate), n_fft, n_mels, 0.0, None, scale, "slaney")


def _triangles(
    rate: float, n_fft: int, n_mels: int, low: float, high: float | None, scale: Scale, norm: Norm
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M, F) filters, (F,) bins and (M + 2,) edges, both in Hz."""
    high = rate / 2 if high is None else high
    if not 0 <= low < high <= rate / 2:
        raise ValueError(f"expected 0 <= low < high <= {rate / 2:g} Hz, got {low = } {high = }")
    if scale not in _SCALES or norm not in (None, "slaney"):
        raise ValueError(f"expected scale slaney or htk, norm slaney or None, got {scale = } {norm = }")
    to_mel, to_hz = _SCALES[scale]
    first, last = to_mel(np.array([low, high]))
    bins, edges = np.linspace(0.0, rate / 2, 1 + n_fft // 2), to_hz(np.linspace(first, last, n_mels + 2))
    filters = build_triangles(bins, edges)
    if norm == "slaney":
        filters *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return filters, bins, edges


def _compute_mel(padded: np.ndarray, hop: int, window: np.ndarray, bank: Bands, power: float) -> np.ndarray:
    """(N,) to (n_mels, T)."""
    frames = np.lib.stride_tricks.sliding_window_view(padded, len(window))[::hop]
    return band_power(frames, window, len(window), bank, power)


def _pad_edges(row: np.ndarray, n_fft: int, center: bool, pad: Pad) -> np.ndarray:
    if center:
        return np.pad(row, n_fft // 2, mode=_PADS[pad])  # type: ignore[call-overload, no-any-return]
    return np.pad(row, (0, max(n_fft - len(row), 0)))


def _compute_whisper_mel(row: np.ndarray, total: int, bank: Bands) -> np.ndarray:
    """Only the frames that touch sound are computed: zeros have no power in any band."""
    half, n_frames = WHISPER_N_FFT // 2, total // WHISPER_HOP
    filled = np.pad(row, (0, min(total - len(row), WHISPER_N_FFT)))  # no frame that touches sound looks further
    touched = min(n_frames, 1 + (len(row) + half) // WHISPER_HOP)
    padded = np.pad(filled, half, mode="reflect")[: (touched - 1) * WHISPER_HOP + WHISPER_N_FFT]
    out = np.zeros((bank.count, n_frames), np.float32)
    out[:, :touched] = _compute_mel(padded, WHISPER_HOP, _hann_window(WHISPER_N_FFT), bank, 2.0)
    _take_logarithm(out, "log10", FLOOR)
    np.maximum(out, out.max() - np.float32(8.0), out=out)
    out += np.float32(4.0)
    out *= np.float32(0.25)
    return out


def _take_logarithm(mel: np.ndarray, log: Log, floor: float) -> np.ndarray:
    """In place: the caller's own array."""
    function, factor = _LOGS[log]
    np.maximum(mel, np.float32(floor), out=mel)
    function(mel, out=mel)
    if factor != 1.0:
        mel *= np.float32(factor)
    return mel


@lru_cache(maxsize=16)
def _build_mel_bands(
    rate: float, n_fft: int, n_mels: int, low: float, high: float | None, scale: Scale, norm: Norm
) -> Bands:
    return build_bands(*_triangles(rate, n_fft, n_mels, low, high, scale, norm))


@lru_cache(maxsize=16)
def _hann_window(length: int) -> np.ndarray:
    """Periodic, as for spectra."""
    return np.hanning(length + 1)[:-1].astype(np.float32)


def _slaney_mel(hz: np.ndarray) -> np.ndarray:
    return np.where(hz < 1000, hz * 3 / 200, 15 + np.log(np.maximum(hz, 1000) / 1000) * 27 / np.log(6.4))


def _slaney_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) * np.log(6.4) / 27))


def _htk_mel(hz: np.ndarray) -> np.ndarray:
    mel: np.ndarray = 2595 * np.log10(1 + hz / 700)
    return mel


def _htk_hz(mel: np.ndarray) -> np.ndarray:
    hz: np.ndarray = 700 * (10 ** (mel / 2595) - 1)
    return hz


_SCALES = {"slaney": (_slaney_mel, _slaney_hz), "htk": (_htk_mel, _htk_hz)}
_LOGS = {"log10": (np.log10, 1.0), "ln": (np.log, 1.0), "db": (np.log10, 10.0)}
_PADS = {"zero": "constant", "reflect": "reflect"}
