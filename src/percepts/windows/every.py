"""Sample single frames of a video at a steady rate: what is on the screen at k / fps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..types import Clip, Windower
from .contiguous import TolerateTruncation, strip_padding

SAME_INSTANT = 1e-6  # seconds: far below a tick of any video's clock, far above the rounding of a sum of two floats


def sample_frames(fps: float) -> Windower:
    """Sample one frame at each integer k: the latest frame at or before k / fps, with `start` exactly k / fps.

    k counts from the source's own zero, so frames of two streams of one video have the same times. The first k is the
    first instant at which there is a frame; the last lies before the end of the last frame. Blocks may hold any number
    of frames, and may leave gaps, in which the last frame stays on the screen. Each clip carries `rate=fps`. Memory is
    one block.

    A source that breaks off with TruncatedMedia yields its last good frame before the error is passed on.

    Raises ValueError for a rate that is not above zero, for clips that are not video, and for frames out of order.

    >>> video = Clip(np.zeros((30, 2, 2, 3), np.uint8), "video", 10.0)
    >>> [clip.start for clip in sample_frames(1.0)([video])]
    [0.0, 1.0, 2.0]
    """
    if not 0 < fps < math.inf:
        raise ValueError(f"expected frames per second above 0, got {fps = }")
    return lambda blocks: _sample_blocks(blocks, fps)


@dataclass(slots=True)
class _ShownFrame:
    """The frame on the screen: (1, H, W, 3), when it appears, and when it ends if no frame follows."""

    data: np.ndarray
    since: float
    until: float
    source: str


def _sample_blocks(blocks: Iterable[Clip], fps: float) -> Iterator[Clip]:
    """Repeat or skip the frames of a stream so that one is yielded per instant."""
    source = TolerateTruncation(blocks)
    shown: _ShownFrame | None = None
    k = 0
    for frame in _split_frames(source):
        if shown is None:
            k = _first_index_at(frame.since, fps)
        else:
            _check_order(shown, frame)
            yield from _repeat_frame(shown, k, frame.since, fps)
            # Two frames may fall between two instants: then the earlier of them is never shown.
            k = max(k, _first_index_at(frame.since, fps))
        shown = frame
    if shown is not None:
        yield from _repeat_frame(shown, k, shown.until, fps)
    source.release()


def _repeat_frame(shown: _ShownFrame, k: int, until: float, fps: float) -> Iterator[Clip]:
    """Yield the frame at every instant from k on that lies before `until`."""
    for i in range(k, _first_index_at(until, fps)):
        yield Clip(shown.data, "video", fps, i / fps, shown.source)


def _first_index_at(time: float, fps: float) -> int:
    """Return the smallest integer k for which k / fps is not before `time`."""
    return math.ceil((time - SAME_INSTANT) * fps)  # an exact k / fps may round to either side


def _split_frames(blocks: Iterable[Clip]) -> Iterator[_ShownFrame]:
    """Yield the frames of blocks one by one with their times."""
    for block in blocks:
        if block.kind != "video":
            raise ValueError(f"expected video, got {block}")
        clip = strip_padding(block)
        for j in range(clip.length):
            since, until = clip.start + j / clip.rate, clip.start + (j + 1) / clip.rate
            yield _ShownFrame(clip.data[j : j + 1], since, until, clip.source)


def _check_order(shown: _ShownFrame, frame: _ShownFrame) -> None:
    if frame.since < shown.since - SAME_INSTANT:
        raise ValueError(f"expected frames in order of time, got {frame.since:.6f} s after {shown.since:.6f} s")
