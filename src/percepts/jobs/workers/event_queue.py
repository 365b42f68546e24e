"""Pass events from the worker pool to the main loop through a queue bounded by bytes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BUFFERED_BYTES = 96 << 20
"""Bytes of prepared inputs that may wait for the model; beyond that the workers wait."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """A worker died at this work item, which starts again: its results so far do not count."""

    key: int


class EventQueue:
    """A queue of events bounded by bytes, from the worker pool to the main loop."""

    def __init__(self, limit: int = BUFFERED_BYTES):
        self._events: deque[tuple[Sequence[Any], int]] = deque()
        self._bytes = 0
        self._limit = limit
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def add(self, events: Sequence[Any], size: int = 0) -> None:
        """Wait for room, then add events; an empty queue takes any number of bytes."""
        with self._changed:
            while self._bytes and self._bytes + size > self._limit and not self._closed:
                self._changed.wait()
            self._events.append((events, size))
            self._bytes += size
            self._changed.notify_all()

    def get(self, timeout: float) -> Sequence[Any]:
        """Return the next events, or none after `timeout` seconds; raise EOFError, or its error, at the end."""
        with self._changed:
            if not self._events and not self._closed:
                self._changed.wait(timeout)
            if self._events:
                events, size = self._events.popleft()
                self._bytes -= size
                self._changed.notify_all()
                return events
            if self._closed:
                raise EOFError if self._error is None else self._error
            return ()

    def close(self, error: BaseException | None = None) -> None:
        """Close the queue: no more events will be added, or nobody will read them."""
        with self._changed:
            self._closed = True
            self._error = error
            self._changed.notify_all()
