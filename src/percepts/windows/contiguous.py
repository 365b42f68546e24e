"""Check that the blocks of a stream follow one another in one format, and strip the padding inside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import TruncatedMedia
from ..types import Clip


class TolerateTruncation(Iterator[Clip]):
    """The blocks of a source up to its last good one: TruncatedMedia ends the stream, and `release` raises it.

    Everything before the damage is good (see TruncatedMedia), so a step that holds some of it back, for a window or a
    filter, first delivers it and then passes the error on.
    """

    def __init__(self, blocks: Iterable[Clip]) -> None:
        self._blocks = iter(blocks)
        self._error: TruncatedMedia | None = None

    def __next__(self) -> Clip:
        try:
            return next(self._blocks)
        except TruncatedMedia as error:
            self._error = error
            raise StopIteration from None

    def release(self) -> None:
        """Raise the error that ended the stream, if it did not end regularly."""
        if self._error is not None:
            raise self._error


def check_contiguous(blocks: Iterable[Clip]) -> Iterator[Clip]:
    """Yield the blocks of one stream, each without its padding; empty ones are dropped.

    Raises ValueError where a block has another kind, rate, channel count or frame size than the first, or starts more
    than half a sample away from the end of the one before it: time could then no longer be computed from the count.
    """
    first: Clip | None = None
    count = 0  # samples or frames so far; times are computed from it, so errors do not add up
    for block in blocks:
        clip = strip_padding(block)
        if first is None:
            first = clip
        _check_continues(first, count, clip)
        count += clip.length
        if clip.length:
            yield clip


def strip_padding(clip: Clip) -> Clip:
    """Return the clip without the padding after its media; the clip itself where it has none."""
    if clip.valid is None or clip.valid == clip.length:
        return clip
    data = clip.data[:, : clip.valid] if clip.kind == "audio" else clip.data[: clip.valid]
    return Clip(data, clip.kind, clip.rate, clip.start, clip.source)


def _check_continues(first: Clip, count: int, clip: Clip) -> None:
    """Raise ValueError where a block does not continue the stream."""
    if clip.kind == "image":
        raise ValueError(f"expected audio or video, got {clip}: an image has no duration that could be cut")
    if _describe_format(clip) != _describe_format(first):
        raise ValueError(f"expected every block to be like the first, {first}, got {clip} after {count} samples")
    # Half a sample, since times of blocks come from decoders that round them.
    due = first.start + count / first.rate
    if abs(clip.start - due) * first.rate > 0.5:
        raise ValueError(
            f"expected the next block of {clip.source or 'the stream'} to start at {due:.6f} s, it starts at "
            f"{clip.start:.6f} s: fill the gap with silence, or cut each stretch by itself"
        )


def _describe_format(clip: Clip) -> tuple[object, ...]:
    """Return what must be equal in all blocks of a stream: kind, rate, and all of the shape but the length."""
    shape = clip.data.shape[:1] if clip.kind == "audio" else clip.data.shape[1:]
    return clip.kind, clip.rate, *shape
