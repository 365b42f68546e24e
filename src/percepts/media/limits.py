"""Limit how many seconds of one source are decoded: a small file can promise years of media."""

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
"""Seconds of one source, unless the caller says otherwise: a weekend of surveillance."""
FREE_SECONDS = 3600.0
"""Seconds that any source may last, however small it is: a picture that is shown for an hour."""
BYTES_A_SECOND = 4
"""Bytes that a second beyond those takes at least. The densest that is used, Opus while nobody speaks, takes ten times
as many; a film of one frame an hour has more, too. So what a file costs is bounded by its size."""
_SLACK = 1.01  # 48 hours are seldom 172,800 seconds to the sample

T = TypeVar("T")
_max_seconds: ContextVar[float | None] = ContextVar("max_seconds", default=None)


@contextmanager
def limit_seconds(seconds: float | None) -> Iterator[None]:
    """Let sources that are read inside this context last up to `seconds`; None: as they may by default.

    >>> with limit_seconds(60):
    ...     chosen_seconds()
    60.0

    Raises:
        ValueError: no number above 0; infinity is one.
    """
    if seconds is not None and not seconds > 0:
        raise ValueError(f"expected max_seconds above 0, got {seconds}")
    token = _max_seconds.set(None if seconds is None else float(seconds))
    try:
        yield
    finally:
        _max_seconds.reset(token)


def resolve_max_seconds(seconds: float | None = None) -> float | None:
    """Return `seconds`, checked; where none are said what the context says; None for the default."""
    with limit_seconds(_max_seconds.get() if seconds is None else seconds):
        return _max_seconds.get()


def iterate_within_limit(items: Iterable[T], seconds: float | None) -> Iterator[T]:
    """Iterate with `limit_seconds(seconds)` around each step, and around nothing of the caller's in between."""
    context = copy_context()
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
    """How many seconds of a source may be decoded, and why so many."""

    source: Source
    seconds: float
    why: str

    @classmethod
    def of(cls, source: Source) -> SecondsLimit:
        """Return what the context says, else MAX_SECONDS, or less for a small file."""
        if (asked := _max_seconds.get()) is not None:
            return cls(source, asked, "max_seconds")
        size = len(source) if isinstance(source, bytes) else os.stat(source).st_size
        credible = FREE_SECONDS + size / BYTES_A_SECOND
        if credible < MAX_SECONDS:
            return cls(source, credible, f"an hour, and a second for every {BYTES_A_SECOND} of its {size:,} bytes")
        return cls(source, MAX_SECONDS, f"{MAX_SECONDS / 3600:.0f} hours")

    def is_over(self, seconds: float) -> bool:
        """Return whether `seconds` are more than are allowed."""
        return seconds > self.seconds * _SLACK

    def check(self, seconds: float) -> None:
        """Raise MediaTooLarge where a source lasts `seconds` and may not."""
        if self.is_over(seconds):
            raise MediaTooLarge(
                f"{name_of(self.source)}: lasts {seconds:,.0f} s or more, which is over the {self.seconds:,.0f} s "
                f"allowed ({self.why}); to decode it all the same give a higher limit: --max-seconds N, max_seconds=N"
            )
