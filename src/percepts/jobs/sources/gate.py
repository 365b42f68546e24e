"""Hold back the orders of a run until its models have been tried, and tell whether there are any at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from ..progress import RunStats
from .walk import WorkItem


class Gate:
    """Iterated by the thread of the crew, whose workers start in the meantime; opened by the run.

    So a run with nothing new loads no model, and where a model cannot be loaded no source is decoded for nothing.
    """

    def __init__(self, orders: Iterator[WorkItem]):
        self._orders = orders
        self._waiting, self._ended = threading.Event(), threading.Event()
        self._opened = threading.Event()
        self._closed = False

    def __iter__(self) -> Iterator[WorkItem]:
        try:
            for order in self._orders:
                if not self._opened.is_set():
                    self._waiting.set()
                    self._opened.wait()
                if self._closed:
                    return
                yield order
        finally:
            self._ended.set()

    def reached(self, stop: threading.Event, tally: RunStats) -> bool:
        """Wait for the first order; False where none comes, or someone says stop."""
        while not self._waiting.wait(0.02):
            tally.show()
            if stop.is_set() or self._ended.is_set():
                return self._waiting.is_set()
        return not stop.is_set()

    def open(self) -> None:
        """Let the orders through."""
        self._opened.set()

    def close(self) -> None:
        """Let no more through."""
        self._closed = True
        self._opened.set()
