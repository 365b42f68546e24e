"""An eye on the model: a batch that gives no sign is broken off, named, and taken apart item by item."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...errors import EncodeError
from ...support.files import atomic_file
from ..storage.owned_files import STALLED

log = logging.getLogger(__name__)

PATIENCE = 900.0
"""Seconds for one batch; four times as many for the first of a model, which may have to fetch weights."""
GRACE = 900.0
"""Seconds that a batch which was asked to end has for it, before the process is ended."""
HUNG = 70
"""Exit code of such a run."""


class Watchdog:
    """Watches what the main thread does between `over` and its end.

    A batch that takes too long is interrupted by a signal, which ends whatever Python or a system call is waiting for;
    the batch is then halved like any that fails. What does not hear signals for GRACE, a kernel that never returns,
    cannot be interrupted: the stacks go to stderr, the sources to STALLED, and the process ends. The next run takes
    those one by one, and marks the one at which it hangs alone. Without a directory, in a process that another one
    supervises, that one sees the end and does the same. After a pause of the whole machine a batch is asked first too.
    """

    def __init__(self, directory: Path | None = None):
        self._file = directory / STALLED if directory else None
        self._held: tuple[str, Sequence[str], float] | None = None
        self._known: set[str] = set()
        self._asked: float | None = None
        self._end = threading.Event()

    def __enter__(self) -> Watchdog:
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGUSR1"):
            self._old = signal.signal(signal.SIGUSR1, self._interrupt)
            self._thread = threading.Thread(target=self._watch, name="percepts-watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if hasattr(self, "_old"):
            self._thread.join()  # it may be about to signal, which only our handler outlives
            signal.signal(signal.SIGUSR1, self._old)

    @contextmanager
    def watch_batch(self, model: str, sources: Sequence[str]) -> Iterator[None]:
        """The model is at these sources until the end of the block. Raises EncodeError where it takes too long."""
        self._asked = None
        self._held = model, sources, time.monotonic()
        try:
            yield
            if sources:  # of none, it is only a rehearsal: what the first batch has to settle is still to come
                self._known.add(model)
        finally:
            self._held = None

    def _watch(self) -> None:
        while not self._end.wait(min(1.0, PATIENCE / 4)):
            if (held := self._held) is None:
                continue
            model, sources, since = held
            now, asked = time.monotonic(), self._asked  # read once: the next batch may begin at any time
            if asked is None:
                if now - since <= PATIENCE * (1 if model in self._known else 4):
                    continue
                asked = self._asked = now
            if now - asked > GRACE:
                self._give_up(model, sources)
            # At every look: a signal that comes just before a call which waits is heard only after it.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _interrupt(self, number: int, frame: Any) -> None:
        if self._held is not None:
            model, _, since = self._held
            raise EncodeError(f"{model} gave no sign for {time.monotonic() - since:.0f} s")

    def _give_up(self, model: str, sources: Sequence[str]) -> None:
        if self._file:
            with atomic_file(self._file) as file:
                file.write(json.dumps(sorted(set(sources))).encode())
        log.error(
            "%s hangs at %s; the run ends here, start it again to go on",
            model,
            ", ".join(sources[:3]) or "a made-up item",
        )
        with suppress(Exception):  # whatever stands for stderr here
            faulthandler.dump_traceback(sys.stderr)
        os._exit(HUNG)


def read_stalled(directory: Path) -> list[str]:
    """The sources at which an earlier run hung, and had to be ended."""
    try:
        found: list[str] = json.loads((directory / STALLED).read_bytes())
    except (FileNotFoundError, ValueError):
        return []
    return found
