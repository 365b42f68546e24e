"""Blocks of one stream in, the same blocks checked out: no gap, one format, no padding inside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import TruncatedMedia
from ..types import Clip


class TolerateTruncation(Iterator[Clip]):
    """The blocks of a source to its last good one: TruncatedMedia ends the stream, and `release` raises it.

    What came before the damage is good (see TruncatedMedia), so whoever holds some of it back, for a window or for a
    filter, first delivers it and then passes the error on.
    """

    def __init__(self, blocks: Iterable[Clip]) -> None:
        self._blocks = iter(blocks)
        self._broken: TruncatedMedia | None = None

    def __next__(self) -> Clip:
        try:
            return next(self._blocks)
        except TruncatedMedia as error:
            self._broken = error
            raise StopIteration from None

    def release(self) -> None:
        """Raise what ended the stream, if it was no regular end."""
        if self._broken is not None:
            raise self._broken


def check_contiguous(blocks: Iterable[Clip]) -> Iterator[Clip]:
    """Pass on the blocks of one stream, each without its padding; empty ones are dropped.

    Raises ValueError where a block has another kind, rate, channel count or picture size than the first, or starts
    more than half a sample away from where the one before it ended: time would no longer follow from the count.
    """
    first: Clip | None = None
    count = 0  # samples or frames so far: the clock
    for block in blocks:
        clip = strip_padding(block)
        if first is None:
            first = clip
        _check(first, count, clip)
        count += clip.length
        if clip.length:
            yield clip


def strip_padding(clip: Clip) -> Clip:
    """The clip without the padding after its media; itself where it has none."""
    if clip.valid is None or clip.valid == clip.length:
        return clip
    data = clip.data[:, : clip.valid] if clip.kind == "audio" else clip.data[: clip.valid]
    return Clip(data, clip.kind, clip.rate, clip.start, clip.source)


def _check(first: Clip, count: int, clip: Clip) -> None:
    if clip.kind == "image":
        raise ValueError(f"expected audio or video, got {clip}: a picture has no clock to cut by")
    if _describe_format(clip) != _describe_format(first):
        raise ValueError(f"expected every block to be like the first, {first}, got {clip} after {count} samples")
    due = first.start + count / first.rate
    if abs(clip.start - due) * first.rate > 0.5:
        raise ValueError(
            f"expected the next block of {clip.source or 'the stream'} to start at {due:.6f} s, it starts at "
            f"{clip.start:.6f} s: fill the gap with silence, or cut each stretch by itself"
        )


def _describe_format(clip: Clip) -> tuple[object, ...]:
    shape = clip.data.shape[:1] if clip.kind == "audio" else clip.data.shape[1:]
    return clip.kind, clip.rate, *shape
