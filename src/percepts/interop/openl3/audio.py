"""Resample audio to 48 kHz, cut it into OpenL3's windows and embed them, block by block."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ...preprocess.kaiser import Resampler
from ...preprocess.openl3 import RATE, WINDOW
from ...preprocess.resample import resample
from ...types import Clip
from .models import EmbeddingModel
from .openl3_exceptions import OpenL3Error
from .openl3_warnings import OpenL3Warning

BLOCK = 10 * RATE  # samples of an array to resample at a time
FEW = 8  # an array with at most so many rows is taken for (C, N)


@dataclass(frozen=True, slots=True)
class WindowCut:
    """How audio is cut: hop in samples at 48 kHz and as given, and whether the first window is centred on 0 s."""

    hop: int
    hop_size: float
    center: bool
    batch: int = 32
    resampler: str = "openl3"
    strict: bool = False
    dense: bool = False

    @property
    def lead(self) -> int:
        """Number of zeros before the first sample."""
        return WINDOW // 2 if self.center else 0

    def timestamps(self, count: int) -> np.ndarray:
        """Return the times of the windows (T,) float64. openl3 uses the hop as given, even between samples."""
        exact = self.hop / RATE
        # For a hop of whole samples the two differ by rounding: then the floats are openl3's.
        asked = self.strict or abs(exact - self.hop_size) < 1e-12
        return np.arange(count) * (self.hop_size if asked else exact)


def mix_to_mono(audio: np.ndarray, *, strict: bool = False) -> np.ndarray:
    """Mix audio (N,), (N, C) or (C, N) to one channel (N,) of floats; integers are scaled by their type.

    strict: as openl3, whose second axis is always the channels, and whose integers stay as large as they are.
    Raises OpenL3Error for no samples, more than two axes, and values that are no finite numbers.
    """
    if audio.size == 0:
        raise OpenL3Error("Got empty audio")
    if not audio.any():
        # stacklevel 4 is the line of the user, who called a function of core.
        warnings.warn("Provided audio is all zeros", OpenL3Warning, stacklevel=4)
    if audio.ndim not in (1, 2):
        raise OpenL3Error("Audio array can only be be 1D or 2D")  # openl3's message, as it stands there
    audio = audio if audio.dtype.kind == "f" else _to_floats(audio, strict)
    if audio.ndim == 2:
        # No file has so few samples and so many channels: (C, N) is meant, as torchaudio gives it.
        first = not strict and audio.shape[0] <= FEW < audio.shape[1]
        audio = np.add.reduce(audio, axis=0 if first else 1) / audio.shape[0 if first else 1]
    if not np.isfinite(audio).all():
        raise OpenL3Error("Audio holds NaN or infinity")
    return audio


def _to_floats(audio: np.ndarray, strict: bool) -> np.ndarray:
    if audio.dtype.kind not in "iu":
        raise OpenL3Error(f"Audio array can only hold numbers, got {audio.dtype}")
    wide = audio.astype(np.float64)
    if strict:
        return wide
    half = float(1 << (8 * audio.dtype.itemsize - 1))
    # Unsigned samples lie around the middle of their range, as in 8-bit WAV.
    return (wide - half) / half if audio.dtype.kind == "u" else wide / half


def resample_to_48k(blocks: Iterable[np.ndarray], rate: float, resampler: str) -> Iterator[np.ndarray]:
    """Resample blocks (N,) from `rate` to 48 kHz."""
    if rate == RATE:
        yield from blocks
        return
    yield from _RESAMPLERS[resampler](blocks, rate)


def _resample_like_openl3(blocks: Iterable[np.ndarray], rate: float) -> Iterator[np.ndarray]:
    stream = Resampler(rate, RATE)
    kind: type | np.dtype = np.float64  # resampy returns the type that it gets
    for block in blocks:
        kind = block.dtype
        yield stream.push(block).astype(kind, copy=False)
    yield stream.finish().astype(kind, copy=False)


def _resample_with_soxr(blocks: Iterable[np.ndarray], rate: float) -> Iterator[np.ndarray]:
    def clips() -> Iterator[Clip]:
        at = 0
        for block in blocks:
            yield Clip(np.asarray(block, np.float32)[None], "audio", rate, at / rate)
            at += len(block)

    return (clip.data[0] for clip in resample(clips(), RATE))


_RESAMPLERS: dict[str, Callable[[Iterable[np.ndarray], float], Iterator[np.ndarray]]] = {
    "openl3": _resample_like_openl3,
    "soxr": _resample_with_soxr,
}
RESAMPLERS = tuple(_RESAMPLERS)


def split_blocks(audio: np.ndarray) -> Iterator[np.ndarray]:
    """Yield views of (N,) samples, BLOCK at a time."""
    for at in range(0, len(audio), BLOCK):
        yield audio[at : at + BLOCK]


def embed_blocks(model: EmbeddingModel, blocks: Iterable[np.ndarray], cut: WindowCut) -> Iterator[np.ndarray]:
    """Blocks (N,) at 48 kHz to batches (b, D), exact or dense."""
    if not cut.dense:
        return (model.from_windows(batch) for batch in cut_windows(blocks, cut))
    return model.from_stream(blocks, cut.hop, cut.lead)


def cut_windows(blocks: Iterable[np.ndarray], cut: WindowCut) -> Iterator[np.ndarray]:
    """Cut blocks (N,) at 48 kHz into batches (b, 48000) of windows, at most `cut.batch` at a time.

    There are as many windows as in openl3: every sample is in one, and the last is filled with zeros. Warns about
    less than a second.
    """
    stream = _WindowBuffer(cut)
    for block in blocks:
        yield from stream.push(block)
    if stream.total < WINDOW:
        message = "Duration of provided audio is shorter than window size (1 second). Audio will be padded."
        warnings.warn(message, OpenL3Warning, stacklevel=4)
    yield from stream.finish()


class _WindowBuffer:
    """A buffer of samples from the start of the next window on; hops longer than a window skip samples."""

    def __init__(self, cut: WindowCut) -> None:
        self.cut = cut
        self.total = self.given = self.skip = 0
        self.held: np.ndarray | None = None

    def push(self, block: np.ndarray) -> Iterator[np.ndarray]:
        self.total += len(block)
        if self.held is None:
            self.held = np.zeros(self.cut.lead, block.dtype)
        # More than one block may pass between two windows.
        skipped = min(self.skip, len(block))
        self.skip -= skipped
        self.held = np.concatenate([self.held, block[skipped:]])
        count = (len(self.held) - WINDOW) // self.cut.hop + 1 if len(self.held) >= WINDOW else 0
        yield from self._give(count)

    def finish(self) -> Iterator[np.ndarray]:
        length = self.total + self.cut.lead
        count = 1 if length <= WINDOW else 1 - (WINDOW - length) // self.cut.hop
        left = count - self.given
        if left and self.held is not None:
            # the hop may lead past the end, where openl3 has a window of zeros
            needed = self.skip + WINDOW + (left - 1) * self.cut.hop - len(self.held)
            self.held = np.concatenate([self.held, np.zeros(max(needed, 0), self.held.dtype)])[self.skip :]
            yield from self._give(left)

    def _give(self, count: int) -> Iterator[np.ndarray]:
        if not count or self.held is None:
            return
        views = np.lib.stride_tricks.sliding_window_view(self.held, WINDOW)[:: self.cut.hop][:count]
        for at in range(0, count, self.cut.batch):
            yield views[at : at + self.cut.batch]
        self.given += count
        end = count * self.cut.hop
        self.skip += max(end - len(self.held), 0)
        self.held = self.held[end:]
