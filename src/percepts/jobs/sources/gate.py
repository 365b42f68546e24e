"""Hold back the work items of a run until its models have been rehearsed, and tell whether there are any."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from ..progress import RunStats
from .walk import WorkItem


class Gate:
    """Passes work items on to the worker pool once the main thread has opened it.

    Workers start in the meantime. A run with nothing new loads no model, and if a model cannot be loaded no source is
    decoded in vain.
    """

    def __init__(self, items: Iterator[WorkItem]):
        self._items = items
        self._waiting, self._ended = threading.Event(), threading.Event()
        self._opened = threading.Event()
        self._closed = False

    def __iter__(self) -> Iterator[WorkItem]:
        try:
            for item in self._items:
                if not self._opened.is_set():
                    self._waiting.set()
                    self._opened.wait()
                # The run ended before its models were ready.
                if self._closed:
                    return
                yield item
        finally:
            self._ended.set()

    def wait_for_item(self, stop: threading.Event, stats: RunStats) -> bool:
        """Wait for the first work item; return False if none comes, or `stop` is set."""
        while not self._waiting.wait(0.02):
            # Listing the inputs may take minutes, and the display should show that the run is alive.
            stats.show()
            if stop.is_set() or self._ended.is_set():
                return self._waiting.is_set()
        return not stop.is_set()

    def open(self) -> None:
        """Let the work items through."""
        self._opened.set()

    def close(self) -> None:
        """Let no more work items through."""
        self._closed = True
        self._opened.set()
