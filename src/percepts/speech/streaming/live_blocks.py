"""Read a live stream in a thread, and yield everything that arrived since the last call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import copy_context
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any

from ...support.prefetch import fill_queue
from ...types import Clip
from ..blocks import join_blocks

MAX_WAITING_BLOCKS = 200
"""Blocks that may wait, 20 s of a pipe or a microphone; beyond that, whoever writes into the pipe must wait."""
_POLL_S = 0.1
"""Polling interval for `stop`, in seconds."""


def drain_live(blocks: Iterable[Clip], stop: Event | None = None) -> Iterator[Clip]:
    """Read blocks in a thread; at each step yield all audio that has arrived, as one clip.

    What `blocks` raises is raised here, after the audio before it. Once `stop` is set, or the iteration is closed,
    nothing more is waited for; the thread ends with the next block.
    """
    ready: Queue[tuple[bool, Any]] = Queue(MAX_WAITING_BLOCKS)
    given_up = Event()
    context = copy_context()  # limits on what is decoded hold in the thread, too
    Thread(target=context.run, args=(fill_queue, blocks, ready, given_up), name="percepts-coming", daemon=True).start()
    try:
        while stop is None or not stop.is_set():
            items = _take_available(ready)
            arrived = [item for is_block, item in items if is_block]
            if arrived:
                yield join_blocks(arrived)
            if items and not items[-1][0]:
                if (error := items[-1][1]) is not None:
                    raise error
                return
    finally:
        given_up.set()


def _take_available(ready: Queue[tuple[bool, Any]]) -> list[tuple[bool, Any]]:
    """Return what has arrived, up to the end of the stream; an empty list after a while without anything."""
    items: list[tuple[bool, Any]] = []
    try:
        items.append(ready.get(timeout=_POLL_S))
        while items[-1][0]:
            items.append(ready.get_nowait())
    except Empty:
        pass
    return items
