"""Run an iterator in a thread, a few items ahead of its consumer, so that decoding overlaps with what follows."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextvars import copy_context
from queue import Empty, Full, Queue
from typing import Any, TypeVar

T = TypeVar("T")

_POLL_S = 0.1
"""Seconds between two checks whether the consumer has stopped."""


def prefetch(items: Iterable[T], count: int = 2) -> Iterator[T]:
    """Yield the same items in the same order, made in a thread that keeps up to `count` of them ready.

    An error of `items` is raised here, after the items before it. Closing this generator early closes `items` and ends
    the thread.
    """
    ready: Queue[tuple[bool, Any]] = Queue(count)
    given_up = threading.Event()
    context = copy_context()  # limits on what is decoded hold in the thread, too
    # daemon, because a stream that nobody finishes must not keep Python from ending
    thread = threading.Thread(
        target=context.run, args=(fill_queue, items, ready, given_up), name="percepts-ahead", daemon=True
    )
    thread.start()
    try:
        while True:
            is_item, value = ready.get()
            if not is_item:
                break
            yield value
        if value is not None:
            raise value
    finally:
        given_up.set()
        while thread.is_alive():  # it may be waiting for room in the queue
            _empty_queue(ready)
            thread.join(_POLL_S)


def fill_queue(items: Iterable[T], ready: Queue[tuple[bool, Any]], given_up: threading.Event) -> None:
    """Put (True, item) into the queue for each item, and at last (False, error or None). The thread runs this."""
    error: BaseException | None = None
    stream = iter(items)
    try:
        for item in stream:
            if not _put_item(ready, (True, item), given_up):
                break
    except BaseException as raised:  # raised again in the thread of the consumer
        error = raised
    if hasattr(stream, "close"):  # the iterator of a list has none
        stream.close()
    _put_item(ready, (False, error), given_up)


def _put_item(ready: Queue[tuple[bool, Any]], value: tuple[bool, Any], given_up: threading.Event) -> bool:
    while not given_up.is_set():
        try:
            ready.put(value, timeout=_POLL_S)
        except Full:
            continue
        return True
    return False


def _empty_queue(ready: Queue[tuple[bool, Any]]) -> None:
    try:
        while True:
            ready.get_nowait()
    except Empty:
        return
