"""Limit how many seconds of one source are decoded: a small file can claim to last for years."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import TypeVar

from ..errors import MediaTooLarge
from .source import Source, name_of

MAX_SECONDS = 48 * 3600.0
"""Default limit on the duration of one source, in seconds: a weekend of surveillance."""
FREE_SECONDS = 3600.0
"""Seconds that any source may last, however small the file: one image shown for an hour is a small file."""
BYTES_A_SECOND = 4
"""Bytes that each further second must take in the file. The densest audio in use, Opus during silence, takes ten times
as many; a video of one frame an hour takes more, too. So the size of a file bounds the time to decode it."""
_SLACK = 1.01  # 48 hours are seldom 172,800 seconds to the sample

T = TypeVar("T")
_max_seconds: ContextVar[float | None] = ContextVar("max_seconds", default=None)


@contextmanager
def limit_seconds(seconds: float | None) -> Iterator[None]:
    """Let sources that are read inside this context last up to `seconds`. None means the default limit.

    >>> with limit_seconds(60):
    ...     resolve_max_seconds()
    60.0

    Raises:
        ValueError: `seconds` is not above 0. Infinity is allowed.
    """
    if seconds is not None and not seconds > 0:
        raise ValueError(f"expected max_seconds above 0, got {seconds}")
    token = _max_seconds.set(None if seconds is None else float(seconds))
    try:
        yield
    finally:
        _max_seconds.reset(token)


def resolve_max_seconds(seconds: float | None = None) -> float | None:
    """Return `seconds`, checked, or the limit of the context where it is None; None for the default limit."""
    with limit_seconds(_max_seconds.get() if seconds is None else seconds):
        return _max_seconds.get()


def iterate_within_limit(items: Iterable[T], seconds: float | None) -> Iterator[T]:
    """Iterate with `limit_seconds(seconds)` around each step, but not around what the caller does in between."""
    context = copy_context()  # a generator runs in the context of its caller, so `with` here would leak into the caller
    context.run(_max_seconds.set, seconds)
    stream = iter(items)
    end = object()
    try:
        while (item := context.run(next, stream, end)) is not end:
            yield item  # type: ignore[misc]
    finally:
        if hasattr(stream, "close"):
            context.run(stream.close)


@dataclass(frozen=True, slots=True)
class SecondsLimit:
    """The number of seconds of a source that may be decoded, and the reason for the number."""

    source: Source
    seconds: float
    why: str

    @classmethod
    def of(cls, source: Source) -> SecondsLimit:
        """Return the limit of the context, else MAX_SECONDS, or less for a small file."""
        if (chosen := _max_seconds.get()) is not None:
            return cls(source, chosen, "max_seconds")
        size = len(source) if isinstance(source, bytes) else os.stat(source).st_size
        credible = FREE_SECONDS + size / BYTES_A_SECOND
        if credible < MAX_SECONDS:
            return cls(source, credible, f"an hour, and a second for every {BYTES_A_SECOND} of its {size:,} bytes")
        return cls(source, MAX_SECONDS, f"{MAX_SECONDS / 3600:.0f} hours")

    def is_over(self, seconds: float) -> bool:
        """Return whether `seconds` is over the limit."""
        return seconds > self.seconds * _SLACK

    def check(self, seconds: float) -> None:
        """Raise MediaTooLarge where a source lasts `seconds` and that is over the limit."""
        if self.is_over(seconds):
            raise MediaTooLarge(
                f"{name_of(self.source)}: lasts {seconds:,.0f} s or more, which is over the {self.seconds:,.0f} s "
                f"allowed ({self.why}). To decode it anyway, give a higher limit: --max-seconds N, max_seconds=N"
            )
