"""Cut a stream of audio or video into fixed windows. A window is a clip, so it knows its time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Literal, get_args

import numpy as np

from ..types import Clip, Windower
from .contiguous import TolerateTruncation, check_contiguous

Tail = Literal["pad", "keep", "drop"]
"""Last partial window: pad it with zeros, keep it short, or drop it."""


def cut_fixed_windows(window: float, hop: float | None = None, tail: Tail = "pad") -> Windower:
    """Cut audio or video into windows of `window` seconds, one every `hop` seconds (default: `window`, no overlap).

    Both are rounded to whole samples (frames, for video) at the rate of the stream, half up. Window i starts at
    `first.start + i * hop_samples / rate`, computed from integers, so the last window of a long file is as exact as the
    first. How the stream is divided into blocks changes nothing. Memory is one window and one block.

    The end of the stream: samples that no window holds yet make one more window. `tail="pad"` fills it with zeros
    and says in `valid` how much is media, `"keep"` leaves it short, `"drop"` leaves it out. Where the last full window
    already reaches the end there is nothing to add. So a stream shorter than one window gives one window (`pad`,
    `keep`) or none (`drop`), and an empty one gives none.

    A source that breaks off with TruncatedMedia is cut up to its last good sample before the error is passed on.

    Raises ValueError for lengths that are not above zero, for windows shorter than half a sample, for images, and for
    blocks that do not follow one another.

    >>> audio = Clip(np.zeros((1, 40_000), np.float32), "audio", 16_000)
    >>> [(w.start, w.length, w.valid) for w in cut_fixed_windows(1.0)([audio])]
    [(0.0, 16000, None), (1.0, 16000, None), (2.0, 16000, 8000)]
    """
    step = window if hop is None else hop
    if not (0 < window < math.inf and 0 < step < math.inf):
        raise ValueError(f"expected window and hop in seconds, above 0, got {window = } {hop = }")
    if tail not in get_args(Tail):
        raise ValueError(f"expected tail to be one of {', '.join(get_args(Tail))}, got {tail!r}")
    return lambda blocks: _cut_blocks(blocks, window, step, tail)


def count_samples(seconds: float, rate: float) -> int:
    """Return the number of samples nearest to `seconds`, half up; ValueError where that is none."""
    count = math.floor(seconds * rate + 0.5)  # round() would go half to even
    if count < 1:
        raise ValueError(f"{seconds} s is not one sample at {rate:g} per second: expected at least {1 / rate:g} s")
    return count


def _cut_blocks(blocks: Iterable[Clip], window: float, hop: float, tail: Tail) -> Iterator[Clip]:
    """Cut a stream, whose first block tells its rate and shape."""
    source = TolerateTruncation(blocks)
    cutter: _WindowBuffer | None = None
    for block in check_contiguous(source):
        if cutter is None:
            cutter = _WindowBuffer(block, count_samples(window, block.rate), count_samples(hop, block.rate))
        yield from cutter.push(block)
    if cutter is not None:
        yield from cutter.finish(tail)
    source.release()


class _WindowBuffer:
    """The window that is being filled, and its place in the stream."""

    def __init__(self, first: Clip, window: int, hop: int) -> None:
        self.first, self.window, self.hop = first, window, hop
        self.index = 0  # number of the window being filled
        self.filled = 0  # samples it holds so far
        self.fresh = 0  # those of them that no earlier window holds
        self.skip = 0  # samples to skip before it begins, where hop > window
        self.data = self._make_buffer()

    def push(self, block: Clip) -> Iterator[Clip]:
        """Append one block; yield the windows it completes."""
        media, at = _move_time_first(block.data, block.kind), 0
        while at < block.length:
            if self.skip:
                skipped = min(self.skip, block.length - at)
                self.skip, at = self.skip - skipped, at + skipped
                continue
            take = min(self.window - self.filled, block.length - at)
            _move_time_first(self.data, block.kind)[self.filled : self.filled + take] = media[at : at + take]
            self.filled, self.fresh, at = self.filled + take, self.fresh + take, at + take
            if self.filled == self.window:
                yield self._take_window()

    def finish(self, tail: Tail) -> Iterator[Clip]:
        """Yield the last, partial window, if some of it is in no other."""
        if self.fresh == 0 or tail == "drop":
            return
        media = _move_time_first(self.data, self.first.kind)
        if tail == "pad":
            media[self.filled :] = 0
            yield self._make_clip(self.data, self.filled)
        else:
            # Audio cut along its second axis is not contiguous, which all other clips are.
            yield self._make_clip(np.ascontiguousarray(_move_time_first(media[: self.filled], self.first.kind)), None)

    def _take_window(self) -> Clip:
        """Return the full window, and begin the next one with the samples that both hold."""
        full = self._make_clip(self.data, None)
        overlap = max(self.window - self.hop, 0)
        data = self._make_buffer()  # a new one: the caller may keep the window
        if overlap:
            _move_time_first(data, full.kind)[:overlap] = _move_time_first(full.data, full.kind)[self.hop :]
        self.data, self.filled, self.fresh = data, overlap, 0
        self.skip = max(self.hop - self.window, 0)
        self.index += 1
        return full

    def _make_clip(self, data: np.ndarray, valid: int | None) -> Clip:
        """Wrap the data of the window being filled as a clip with its start time."""
        first = self.first
        return Clip(data, first.kind, first.rate, first.start + self.index * self.hop / first.rate, first.source, valid)

    def _make_buffer(self) -> np.ndarray:
        """Allocate a window; it is always filled or zeroed before it leaves."""
        shape = self.first.data.shape
        sized = (shape[0], self.window) if self.first.kind == "audio" else (self.window, *shape[1:])
        return np.empty(sized, self.first.data.dtype)


def _move_time_first(data: np.ndarray, kind: str) -> np.ndarray:
    """Return a view with time on the first axis; applied twice it gives the original back."""
    return data.T if kind == "audio" else data
