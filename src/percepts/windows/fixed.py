"""Blocks in, windows of equal length out. A window is a clip, so it still knows its time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Literal, get_args

import numpy as np

from ..types import Clip, Windower
from .contiguous import TolerateTruncation, check_contiguous

Tail = Literal["pad", "keep", "drop"]
"""What becomes of the end that fills no window: zeros after it, left short, or left out."""


def cut_fixed_windows(window: float, hop: float | None = None, tail: Tail = "pad") -> Windower:
    """Cut sound or film into windows of `window` seconds, one every `hop` seconds (default: `window`, no overlap).

    Both are rounded to whole samples (frames, for film) at the rate of the stream, half up. Window i starts at
    `first.start + i * hop_samples / rate`, from integers: the time of the last window of a long file is as right as
    that of the first. The cut of the incoming blocks changes nothing. Memory is one window and one block.

    The end of the stream: samples that no window holds yet make one more window. `tail="pad"` fills it with zeros
    and says in `valid` how much is media, `"keep"` leaves it short, `"drop"` leaves it out. Where the last whole
    window already reaches the end there is nothing to add. So a stream shorter than one window gives one window
    (`pad`, `keep`) or none (`drop`), and an empty one gives none.

    A source that breaks off with TruncatedMedia is cut to its last good sample before the error is passed on.

    Raises ValueError for lengths that are not above zero, for windows shorter than half a sample, for pictures,
    and for blocks that do not follow one another.

    >>> sound = Clip(np.zeros((1, 40_000), np.float32), "audio", 16_000)
    >>> [(w.start, w.length, w.valid) for w in fixed(1.0)([sound])]
    [(0.0, 16000, None), (1.0, 16000, None), (2.0, 16000, 8000)]
    """
    step = window if hop is None else hop
    if not (0 < window < math.inf and 0 < step < math.inf):
        raise ValueError(f"expected window and hop in seconds, above 0, got {window = } {hop = }")
    if tail not in get_args(Tail):
        raise ValueError(f"expected tail to be one of {', '.join(get_args(Tail))}, got {tail!r}")
    return lambda blocks: _cut_blocks(blocks, window, step, tail)


def count_samples(seconds: float, rate: float) -> int:
    """Whole samples nearest to `seconds`, half up; ValueError where that is none."""
    count = math.floor(seconds * rate + 0.5)
    if count < 1:
        raise ValueError(f"{seconds} s is not one sample at {rate:g} per second: expected at least {1 / rate:g} s")
    return count


def _cut_blocks(blocks: Iterable[Clip], window: float, hop: float, tail: Tail) -> Iterator[Clip]:
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
    """The window being filled, and where it stands in the stream."""

    def __init__(self, first: Clip, window: int, hop: int) -> None:
        self.first, self.window, self.hop = first, window, hop
        self.index = 0  # of the window being filled
        self.filled = 0  # samples of it that are here
        self.fresh = 0  # of those, samples that no window before it holds
        self.skip = 0  # samples to leave out before it begins, where hop > window
        self.data = self._make_buffer()

    def push(self, block: Clip) -> Iterator[Clip]:
        """Take in one block; give the windows it completes."""
        media, at = _move_time_first(block.data, block.kind), 0
        while at < block.length:
            if self.skip:
                left_out = min(self.skip, block.length - at)
                self.skip, at = self.skip - left_out, at + left_out
                continue
            take = min(self.window - self.filled, block.length - at)
            _move_time_first(self.data, block.kind)[self.filled : self.filled + take] = media[at : at + take]
            self.filled, self.fresh, at = self.filled + take, self.fresh + take, at + take
            if self.filled == self.window:
                yield self._take_window()

    def finish(self, tail: Tail) -> Iterator[Clip]:
        """Give the last window, where some of it is in no other."""
        if self.fresh == 0 or tail == "drop":
            return
        whole = _move_time_first(self.data, self.first.kind)
        if tail == "pad":
            whole[self.filled :] = 0
            yield self._clip(self.data, self.filled)
        else:
            yield self._clip(np.ascontiguousarray(_move_time_first(whole[: self.filled], self.first.kind)), None)

    def _take_window(self) -> Clip:
        """The full window; its overlap begins the next one."""
        full = self._clip(self.data, None)
        kept = max(self.window - self.hop, 0)
        data = self._make_buffer()
        if kept:
            _move_time_first(data, full.kind)[:kept] = _move_time_first(full.data, full.kind)[self.hop :]
        self.data, self.filled, self.fresh = data, kept, 0
        self.skip = max(self.hop - self.window, 0)
        self.index += 1
        return full

    def _clip(self, data: np.ndarray, valid: int | None) -> Clip:
        first = self.first
        return Clip(data, first.kind, first.rate, first.start + self.index * self.hop / first.rate, first.source, valid)

    def _make_buffer(self) -> np.ndarray:
        shape = self.first.data.shape
        sized = (shape[0], self.window) if self.first.kind == "audio" else (self.window, *shape[1:])
        return np.empty(sized, self.first.data.dtype)


def _move_time_first(data: np.ndarray, kind: str) -> np.ndarray:
    """A view with time on the first axis; its own inverse."""
    return data.T if kind == "audio" else data
