"""Pass a stream on to a second consumer, which works in a thread on the same items."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Full, Queue
from types import TracebackType
from typing import Generic, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")

_POLL_S = 0.1
"""Seconds between two checks whether the consumer still takes items."""
_END = object()


class StreamTee(Generic[T, R]):
    """A tee: every item that goes through `tee` is also given to `consume`, whose value is `result`.

    Neither side runs more than `room` items ahead of the other, which bounds memory. The thread ends with the context.

    >>> with StreamTee(sum) as total:
    ...     print(max(total.tee([3, 5, 4])), total.result())
    5 12
    """

    def __init__(self, consume: Callable[[Iterator[T]], R], room: int = 4) -> None:
        self._consume = consume
        self._items: Queue[object] = Queue(room)
        self._results: list[R] = []
        self._error: BaseException | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run_consumer, name="percepts-alongside", daemon=True)

    def __enter__(self) -> StreamTee[T, R]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        self._put_item(_END)
        self._thread.join()

    def tee(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the same items, and give each to the consumer."""
        for item in items:
            self._put_item(item)
            yield item

    def result(self) -> R:
        """End the stream, and return what `consume` returned; raise what it raised."""
        self._put_item(_END)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _put_item(self, item: object) -> None:
        while self._thread.is_alive():  # if it has failed, nobody takes items and a plain put would wait forever
            try:
                return self._items.put(item, timeout=_POLL_S)
            except Full:
                continue

    def _take_items(self) -> Iterator[T]:
        while not self._is_closed and (item := self._items.get()) is not _END:
            yield cast(T, item)

    def _run_consumer(self) -> None:
        try:
            self._results.append(self._consume(self._take_items()))
        except BaseException as error:  # raised again by `result`
            self._error = error
