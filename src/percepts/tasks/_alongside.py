"""One stream read once, two that need it: the second works in a thread on the same items."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Full, Queue
from types import TracebackType
from typing import Generic, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")

_PATIENCE = 0.1
"""Seconds between two looks at whether the other still takes what there is."""
_END = object()


class Alongside(Generic[T, R]):
    """Give every item that goes `through` to `consume` as well, and have its `result`.

    Neither runs more than `room` items ahead of the other, so memory is that. Leaving the context ends the thread.

    >>> with Alongside(sum) as total:
    ...     print(max(total.through([3, 5, 4])), total.result())
    5 12
    """

    def __init__(self, consume: Callable[[Iterator[T]], R], room: int = 4) -> None:
        self._consume = consume
        self._items: Queue[object] = Queue(room)
        self._found: list[R] = []
        self._error: BaseException | None = None
        self._left = False
        self._thread = threading.Thread(target=self._run, name="percepts-alongside", daemon=True)

    def __enter__(self) -> Alongside[T, R]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self._put(_END)
        self._thread.join()

    def through(self, items: Iterable[T]) -> Iterator[T]:
        """The same items."""
        for item in items:
            self._put(item)
            yield item

    def result(self) -> R:
        """What came of the items so far, no more of which follow; raises what `consume` raised."""
        self._put(_END)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found[0]

    def _put(self, item: object) -> None:
        while self._thread.is_alive():
            try:
                return self._items.put(item, timeout=_PATIENCE)
            except Full:
                continue

    def _take(self) -> Iterator[T]:
        while not self._left and (item := self._items.get()) is not _END:
            yield cast(T, item)

    def _run(self) -> None:
        try:
            self._found.append(self._consume(self._take()))
        except BaseException as error:  # whatever it is belongs to the one who asks for the result
            self._error = error
