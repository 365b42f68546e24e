"""Blocks that come in their own time in, everything that has come since the last look out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import copy_context
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any

from ...support.prefetch import fill_queue
from ...types import Clip
from .events import join_blocks

MAX_WAITING_BLOCKS = 200
"""Blocks that may wait, 20 s of a pipe or a microphone; beyond, a pipe waits with whoever writes into it."""
_POLL_S = 0.1
"""Seconds between two looks at whether somebody said stop."""


def drain_live(blocks: Iterable[Clip], stop: Event | None = None) -> Iterator[Clip]:
    """The same sound, read in a thread: at each step all of it that is there, as one clip.

    What `blocks` raises is raised here, after what came before it. Once `stop` is set, or the iteration is given up,
    nothing more is waited for; the thread ends with the next block.
    """
    ready: Queue[tuple[bool, Any]] = Queue(MAX_WAITING_BLOCKS)
    given_up = Event()
    context = copy_context()  # limits on what is decoded hold in the thread, too
    Thread(target=context.run, args=(fill_queue, blocks, ready, given_up), name="percepts-coming", daemon=True).start()
    try:
        while stop is None or not stop.is_set():
            found = _take_available(ready)
            come = [item for is_block, item in found if is_block]
            if come:
                yield join_blocks(come)
            if found and not found[-1][0]:
                if (error := found[-1][1]) is not None:
                    raise error
                return
    finally:
        given_up.set()


def _take_available(ready: Queue[tuple[bool, Any]]) -> list[tuple[bool, Any]]:
    """What is there, up to the end of the stream; after a while nothing."""
    found: list[tuple[bool, Any]] = []
    try:
        found.append(ready.get(timeout=_POLL_S))
        while found[-1][0]:
            found.append(ready.get_nowait())
    except Empty:
        pass
    return found
