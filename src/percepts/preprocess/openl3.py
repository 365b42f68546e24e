"""Compute OpenL3's three kinds of decibel spectrogram from windows of one second at 48 kHz, with three frontends.

kapre, librosa   as openl3 0.4 computes them, with the frontend of that name
trained          as openl3 0.3 did (kapre 0.1.4), and as it was when the published weights were trained

They differ in where the frames lie, in the mel scale, and in whether bands add up magnitudes or powers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from .mel import Scale, mel_bands

Frontend = Literal["kapre", "librosa", "trained"]
FRONTENDS: tuple[Frontend, ...] = get_args(Frontend)
RATE = 48_000
WINDOW = 48_000  # samples of one window
STRIDE = 242  # samples from one frame to the next
RANGE = 80.0  # dB below the loudest value of the window
FLOOR = 1e-10  # amplitude; what openl3 0.4 takes, so that silence has a logarithm


@dataclass(frozen=True, slots=True)
class FrameLayout:
    """How a window is cut into frames and summed into bands.

    n_fft   samples in a frame and in its transform
    left    zeros before the window; those after it fill the last frame
    count   number of frames
    bands   mel bands, 0 for the plain spectrum
    scale   the mel scale of the bands
    power   1.0: bands add up magnitudes. 2.0: powers, and the root of the sum is taken
    """

    n_fft: int
    left: int
    count: int
    bands: int = 0
    scale: Scale = "slaney"
    power: float = 1.0

    @property
    def padded_samples(self) -> int:
        """The samples that the frames of one window span."""
        return (self.count - 1) * STRIDE + self.n_fft


_LINEAR = FrameLayout(512, 0, 197)
FRAMES: dict[tuple[str, str], FrameLayout] = {
    **{(frontend, "linear"): _LINEAR for frontend in FRONTENDS},
    **{("kapre", f"mel{n}"): FrameLayout(2048, 0, 199, n) for n in (128, 256)},
    **{("librosa", f"mel{n}"): FrameLayout(2048, 1024, 199, n) for n in (128, 256)},
    # TensorFlow's SAME: (198 * 242 + 2048 - 48000) / 2 = 982 zeros on each side.
    **{("trained", f"mel{n}"): FrameLayout(2048, 982, 199, n, "htk", 2.0) for n in (128, 256)},
}


def spectrogram(windows: np.ndarray, input_repr: str, frontend: str = "kapre") -> np.ndarray:
    """Return (B, F, T) float32 decibels in [-80, 0] of (B, 48000) samples; 0 is the loudest value of each window.

    input_repr  linear (257 x 197), mel128 (128 x 199), mel256 (256 x 199)
    frontend    kapre, librosa or trained; equal for linear, except that librosa computes in the samples' precision
                (float64 as openl3 reads files) and the others in float32, which shows below -60 dB

    The decibels are those of openl3: ten times the logarithm of an amplitude, so that 80 of them are 160 true ones. At
    the bottom they hold the rounding noise of the transform. Silence is all zeros.
    Raises ValueError for other sizes and names.

    >>> spectrogram(np.zeros((2, 48_000), np.float32), "mel128").shape
    (2, 128, 199)
    """
    frames = _find_layout(input_repr, frontend)
    if windows.ndim != 2 or windows.shape[1] != WINDOW or windows.dtype.kind != "f":
        raise ValueError(f"expected (B, {WINDOW}) floats, got {windows.dtype}{list(windows.shape)}")
    kind = np.float64 if frontend == "librosa" and windows.dtype == np.float64 else np.float32
    out = np.empty((len(windows), frames.bands or frames.n_fft // 2 + 1, frames.count), np.float32)
    for window, target in zip(windows, out, strict=True):
        target[:] = to_decibels(compute_amplitudes(_pad_window(window, frames, kind), frames))
    return out


def _find_layout(input_repr: str, frontend: str) -> FrameLayout:
    """Return the layout of a frontend; ValueError for unknown names."""
    if frontend not in FRONTENDS or (frontend, input_repr) not in FRAMES:
        raise ValueError(
            f"expected a frontend of {', '.join(FRONTENDS)} and linear, mel128 or mel256, "
            f"got {frontend!r} and {input_repr!r}"
        )
    return FRAMES[frontend, input_repr]


def _pad_window(window: np.ndarray, frames: FrameLayout, kind: type) -> np.ndarray:
    """Pad a window with zeros on both sides; a plain spectrum drops a rest that fills no frame."""
    padded: np.ndarray = np.zeros(frames.padded_samples, kind)
    taken = min(WINDOW, frames.padded_samples - frames.left)
    padded[frames.left : frames.left + taken] = window[:taken]
    return padded


def compute_amplitudes(samples: np.ndarray, frames: FrameLayout) -> np.ndarray:
    """Return (F, T) amplitudes of (N,) samples, one frame every STRIDE samples, in the precision of the samples."""
    cut = np.lib.stride_tricks.sliding_window_view(samples, frames.n_fft)[::STRIDE]
    spectrum = np.fft.rfft(cut * _hann_window(frames.n_fft, samples.dtype.char))
    if not frames.bands:
        return np.abs(spectrum).T
    bank = mel_bands(RATE, frames.n_fft, frames.bands, frames.scale)
    if frames.power == 1.0:
        return bank.sum(np.abs(spectrum).T.astype(np.float32, order="C"))
    return np.asarray(np.sqrt(bank.sum((spectrum.real**2 + spectrum.imag**2).T.astype(np.float32, order="C"))))


def to_decibels(amplitude: np.ndarray) -> np.ndarray:
    """Convert amplitudes to openl3's decibels, 10 log10: the largest value becomes 0, none is below -80."""
    logs = np.log(np.maximum(amplitude, FLOOR))
    logs -= logs.max()
    logs *= 10 / np.log(10)  # numpy's log is vectorised, its log10 is not
    return np.asarray(np.maximum(logs, -RANGE))


@lru_cache(maxsize=8)
def _hann_window(n: int, kind: str) -> np.ndarray:
    """Return a periodic Hann window in the given precision."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(kind)
