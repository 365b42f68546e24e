from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from percepts.support.prefetch import prefetch


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "percepts-ahead"]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_items_come_in_order_and_the_thread_ends(count: int) -> None:
    assert list(prefetch(range(50), count)) == list(range(50))
    assert list(prefetch([], count)) == []
    assert not threads()


def test_an_error_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    seen = []
    with pytest.raises(OSError, match="the disk is gone"):
        for item in prefetch(broken()):
            seen.append(item)
    assert seen == [1, 2]
    assert not threads()


def test_giving_up_closes_what_was_iterated() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    stream = prefetch(endless())
    assert next(stream) == 0
    stream.close()
    assert closed.is_set()
    assert not threads()


def test_it_does_not_run_further_ahead_than_asked() -> None:
    made: list[int] = []

    def counted() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    stream = prefetch(counted(), 3)
    assert next(stream) == 0
    threading.Event().wait(0.3)
    assert len(made) <= 1 + 3 + 1  # the one taken, those that are ready, the one in hand
    stream.close()
