"""Compute mel spectrograms of mono audio: (B, N) → (B, M, T).

Each row is computed by itself, so no row depends on its batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from .bands import Bands, as_rows, band_power, build_bands, build_triangles

Scale = Literal["slaney", "htk"]
"""The mel scale: Slaney's Auditory Toolbox (linear to 1 kHz, then logarithmic) or HTK's 2595 log10(1 + f / 700)."""
Norm = Literal["slaney"] | None
"""Triangles of equal area (slaney) or of equal height (None)."""
Log = Literal["log10", "ln", "db"]
Pad = Literal["zero", "reflect"]

FLOOR = 1e-10  # openai/whisper's and librosa's: -100 dB

WHISPER_RATE, WHISPER_N_FFT, WHISPER_HOP = 16_000, 400, 160
"""Radford et al. 2022, section 2.2: 80 mels over 25 ms windows every 10 ms, at 16 kHz; large-v3 took 128 mels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MelOptions:
    """How samples are cut into frames, and the bins of their spectra summed into mel bands.

    n_fft      samples in a frame and in its transform
    hop        samples from the start of one frame to that of the next
    n_mels     number of mel bands
    low, high  band edges in Hz; `high` None is rate / 2
    scale      the mel scale
    norm       "slaney" for triangles of equal area, None for equal height
    power      2.0 for power, 1.0 for magnitude
    center     frame t is centred on sample t * hop and T = 1 + N // hop; the ends are padded with zeros or a mirror
               image (`pad`). Else frame t begins at t * hop and T = 1 + (N - n_fft) // hop, and audio shorter than a
               frame is filled with zeros to one frame
    pad        what is put before and after the samples where frames are centred

    Raises ValueError for sizes below 1 and for an unknown `pad`.
    """

    n_fft: int = 1024
    hop: int = 512
    n_mels: int = 64
    low: float = 0.0
    high: float | None = None
    scale: Scale = "slaney"
    norm: Norm = "slaney"
    power: float = 2.0
    center: bool = True
    pad: Pad = "zero"

    def __post_init__(self) -> None:
        if min(self.n_fft, self.hop, self.n_mels) < 1:
            raise ValueError(f"expected n_fft, hop and n_mels above 0, got {self}")
        if self.pad not in get_args(Pad):
            raise ValueError(f"expected pad to be one of {', '.join(get_args(Pad))}, got {self.pad!r}")


_DEFAULTS = MelOptions()


def log_mel(
    samples: np.ndarray, rate: float, options: MelOptions = _DEFAULTS, *, log: Log = "log10", floor: float = FLOOR
) -> np.ndarray:
    """Return the logarithm of `mel_spectrogram`: (B, n_mels, T) or (n_mels, T) float32.

    Values below `floor` count as `floor`. `log="db"` is 10 log10, decibels of a power, with no reference and no range.

    >>> log_mel(np.zeros(16_000, np.float32), 16_000, MelOptions(n_fft=400, hop=160, n_mels=40)).shape
    (40, 101)
    """
    if log not in _LOGS:
        raise ValueError(f"expected log to be one of {', '.join(_LOGS)}, got {log!r}")
    return _take_logarithm(mel_spectrogram(samples, rate, options), log, floor)


def mel_spectrogram(samples: np.ndarray, rate: float, options: MelOptions = _DEFAULTS) -> np.ndarray:
    """Return the mel bands of short-time spectra under a periodic Hann window: (B, n_mels, T) or (n_mels, T) float32.

    samples   (B, N) or (N,) floats, each row mono audio. Two channels would be two rows: mix them down first
    rate      of the samples, in Hz

    With the defaults of `center` and `pad` this is librosa's melspectrogram.
    Raises ValueError for integers, whose scale would be wrong, and for no samples.

    >>> options = MelOptions(n_fft=400, hop=160, n_mels=40, center=False)
    >>> mel_spectrogram(np.ones((2, 1000), np.float32), 16_000, options).shape
    (2, 40, 4)
    """
    rows = as_rows(samples)
    n_fft = options.n_fft
    bank = _build_mel_bands(
        float(rate), n_fft, options.n_mels, float(options.low), options.high, options.scale, options.norm
    )
    padded = (_pad_edges(row, n_fft, options.center, options.pad) for row in rows)
    out = np.stack([_compute_mel(row, options.hop, _hann_window(n_fft), bank, options.power) for row in padded])
    return out[0] if samples.ndim == 1 else out


def whisper_log_mel(samples: np.ndarray, n_mels: int = 80, *, seconds: float | None = 30.0) -> np.ndarray:
    """Return Whisper's input features of audio at 16 kHz: (B, n_mels, T) or (n_mels, T) float32, 100 frames per second.

    Log10 of the mel power, at most 8 (80 dB) below the loudest value of that row, then (x + 4) / 4.

    `seconds` is what the encoder was trained on: shorter audio is filled with zeros, as Whisper does, and longer audio
    is an error rather than silently cut off. Give another number only to a model whose positions were changed to match.
    None fills nothing, and N then need not be a multiple of the hop (T = N // 160).
    Only frames that hold audio are computed: five seconds cost a sixth of thirty.

    n_mels    80, and 128 for large-v3 and turbo

    >>> whisper_log_mel(np.zeros(80_000, np.float32)).shape
    (80, 3000)
    """
    rows = as_rows(samples)
    total = rows.shape[1] if seconds is None else round(seconds * WHISPER_RATE)
    if rows.shape[1] > total:
        raise ValueError(
            f"expected at most {total} samples ({seconds:g} s at {WHISPER_RATE} Hz), got {rows.shape[1]}: "
            f"cut it first, with percepts.windows.cut_fixed_windows({seconds:g})"
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
    """Return the triangles that sum the bins of a spectrum into mel bands: (n_mels, 1 + n_fft // 2) float64.

    Equal to librosa.filters.mel and to transformers' mel_filter_bank. Bands narrower than a bin may be all zeros.

    >>> mel_filters(16_000, 400, 80).shape
    (80, 201)
    """
    return _build_mel_filters(rate, n_fft, n_mels, low, high, scale, norm)[0]


def mel_bands(rate: float, n_fft: int, n_mels: int, scale: Scale = "slaney") -> Bands:
    """Return `mel_filters` up to half the rate as Bands, whose sums have the same bits for any number of threads."""
    return _build_mel_bands(float(rate), n_fft, n_mels, 0.0, None, scale, "slaney")


def _build_mel_filters(
    rate: float, n_fft: int, n_mels: int, low: float, high: float | None, scale: Scale, norm: Norm
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (M, F) filters, (F,) bins and (M + 2,) edges, bins and edges in Hz."""
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
        # A triangle of this height has area 1 over Hz.
        filters *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return filters, bins, edges


def _compute_mel(padded: np.ndarray, hop: int, window: np.ndarray, bank: Bands, power: float) -> np.ndarray:
    """Compute (n_mels, T) of one padded row (N,)."""
    frames = np.lib.stride_tricks.sliding_window_view(padded, len(window))[::hop]
    return band_power(frames, window, len(window), bank, power)


def _pad_edges(row: np.ndarray, n_fft: int, center: bool, pad: Pad) -> np.ndarray:
    """Pad a row on both sides for centred frames, else at the end to one frame."""
    if center:
        return np.pad(row, n_fft // 2, mode=_PADS[pad])  # type: ignore[call-overload, no-any-return]
    return np.pad(row, (0, max(n_fft - len(row), 0)))


def _compute_whisper_mel(row: np.ndarray, total: int, bank: Bands) -> np.ndarray:
    """Compute one row; only frames that touch audio, since zeros have no power in any band."""
    # openai/whisper drops the last of the 1 + N // hop centred frames.
    half, n_frames = WHISPER_N_FFT // 2, total // WHISPER_HOP
    filled = np.pad(row, (0, min(total - len(row), WHISPER_N_FFT)))  # no frame that touches audio reaches further
    touched = min(n_frames, 1 + (len(row) + half) // WHISPER_HOP)
    # Mirrored ends, as torch.stft pads centred frames for openai/whisper.
    padded = np.pad(filled, half, mode="reflect")[: (touched - 1) * WHISPER_HOP + WHISPER_N_FFT]
    out = np.zeros((bank.count, n_frames), np.float32)
    out[:, :touched] = _compute_mel(padded, WHISPER_HOP, _hann_window(WHISPER_N_FFT), bank, 2.0)
    _take_logarithm(out, "log10", FLOOR)
    np.maximum(out, out.max() - np.float32(8.0), out=out)
    out += np.float32(4.0)
    out *= np.float32(0.25)
    return out


def _take_logarithm(mel: np.ndarray, log: Log, floor: float) -> np.ndarray:
    """Take the logarithm in place."""
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
    """Build the Bands of mel filters; cached, since every clip of a file needs the same."""
    return build_bands(*_build_mel_filters(rate, n_fft, n_mels, low, high, scale, norm))


@lru_cache(maxsize=16)
def _hann_window(length: int) -> np.ndarray:
    """Return a periodic Hann window, as spectra need it."""
    # np.hanning is symmetric: one point more, less the last, is periodic.
    return np.hanning(length + 1)[:-1].astype(np.float32)


# Below 1 kHz 3 mel per 200 Hz; above, 27 mel per factor of 6.4.
def _slaney_mel(hz: np.ndarray) -> np.ndarray:
    """Convert Hz to Slaney's mel scale."""
    return np.where(hz < 1000, hz * 3 / 200, 15 + np.log(np.maximum(hz, 1000) / 1000) * 27 / np.log(6.4))


def _slaney_hz(mel: np.ndarray) -> np.ndarray:
    """Convert Slaney's mel scale to Hz."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) * np.log(6.4) / 27))


def _htk_mel(hz: np.ndarray) -> np.ndarray:
    """Convert Hz to HTK's mel scale."""
    mel: np.ndarray = 2595 * np.log10(1 + hz / 700)
    return mel


def _htk_hz(mel: np.ndarray) -> np.ndarray:
    """Convert HTK's mel scale to Hz."""
    hz: np.ndarray = 700 * (10 ** (mel / 2595) - 1)
    return hz


_SCALES = {"slaney": (_slaney_mel, _slaney_hz), "htk": (_htk_mel, _htk_hz)}
_LOGS = {"log10": (np.log10, 1.0), "ln": (np.log, 1.0), "db": (np.log10, 10.0)}
_PADS = {"zero": "constant", "reflect": "reflect"}
