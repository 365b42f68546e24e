"""Two who need one stream get the same of it, whatever becomes of the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from percepts.support.tee import StreamTee


def threads() -> int:
    return sum(thread.name == "percepts-alongside" for thread in threading.enumerate())


def test_both_get_every_item_in_order_and_neither_runs_far_ahead():
    made, ahead = [], 0

    def numbers() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    def slow(items: Iterator[int]) -> list[int]:
        nonlocal ahead
        taken = []
        for item in items:
            time.sleep(0.0005)
            ahead = max(ahead, len(made) - len(taken))
            taken.append(item)
        return taken

    with StreamTee(slow, room=3) as second:
        first = list(second.tee(numbers()))
        assert first == second.result() == list(range(100))
    assert ahead <= 3 + 3
    assert threads() == 0


def test_what_the_second_raises_is_raised_with_its_result_and_stops_nobody():
    def fails(items: Iterator[int]) -> int:
        raise ValueError("no ears")

    with StreamTee(fails, room=1) as second:
        assert list(second.tee(range(50))) == list(range(50))
        with pytest.raises(ValueError, match="no ears"):
            second.result()


def test_a_stream_that_is_given_up_leaves_no_thread():
    with StreamTee(sum, room=1) as second:
        assert list(islice(second.tee(range(10**6)), 3)) == [0, 1, 2]
    assert threads() == 0


def test_a_stream_that_fails_leaves_no_thread():
    def broken() -> Iterator[int]:
        yield 1
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"), StreamTee(sum) as second:
        list(second.tee(broken()))
    assert threads() == 0
