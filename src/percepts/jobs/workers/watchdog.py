"""Interrupt batches that exceed a time limit, so that the item at which the model hangs can be isolated."""

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
"""Seconds for one batch; four times as many for the first of a model, which may download weights."""
GRACE = 900.0
"""Seconds that an interrupted batch has to end, before the process is ended."""
HUNG = 70
"""Exit code of a run that ended because of a hanging batch."""


class Watchdog:
    """Watches the main thread inside `watch_batch`.

    A batch that takes too long is interrupted by a signal, which ends whatever Python or a system call is waiting for;
    the batch is then halved like any that fails. A call that receives no signal for GRACE seconds, such as a kernel
    that never returns, cannot be interrupted: the stacks go to stderr, the sources to STALLED_FILE, and the process
    ends. The next run processes those sources one by one, and marks the one at which it hangs alone. Without a
    directory, the process that supervises this one sees its end and does the same. After a pause of the whole machine,
    a batch is also interrupted first.
    """

    def __init__(self, directory: Path | None = None):
        self._file = directory / STALLED if directory else None
        self._held: tuple[str, Sequence[str], float] | None = None
        self._known: set[str] = set()
        self._asked: float | None = None
        self._end = threading.Event()

    def __enter__(self) -> Watchdog:
        # Signals reach only the main thread; Windows has none of this kind.
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGUSR1"):
            self._old = signal.signal(signal.SIGUSR1, self._interrupt)
            self._thread = threading.Thread(target=self._watch, name="percepts-watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if hasattr(self, "_old"):
            self._thread.join()  # it may be about to send the signal, which would end the process without our handler
            signal.signal(signal.SIGUSR1, self._old)

    @contextmanager
    def watch_batch(self, model: str, sources: Sequence[str]) -> Iterator[None]:
        """Watch the model at these sources until the end of the block; raise EncodeError if it takes too long."""
        self._asked = None
        self._held = model, sources, time.monotonic()
        try:
            yield
            if sources:  # a rehearsal has none, and leaves to the first batch what takes long
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
            # Repeated each time: a signal that arrives just before a blocking call is noticed only after that call.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _interrupt(self, number: int, frame: Any) -> None:
        if self._held is not None:
            model, _, since = self._held
            raise EncodeError(f"{model} gave no sign for {time.monotonic() - since:.0f} s")

    def _give_up(self, model: str, sources: Sequence[str]) -> None:
        # Written before anything else can go wrong: the next run learns from it what to take apart.
        if self._file:
            with atomic_file(self._file) as file:
                file.write(json.dumps(sorted(set(sources))).encode())
        log.error(
            "%s hangs at %s; the run ends here, start it again to continue",
            model,
            ", ".join(sources[:3]) or "a made-up item",
        )
        with suppress(Exception):  # stderr may be closed, or no real file
            faulthandler.dump_traceback(sys.stderr)
        # sys.exit would wait for the main thread, which hangs.
        os._exit(HUNG)


def read_stalled(directory: Path) -> list[str]:
    """Return the sources of the batch at which an earlier run hung and had to be ended."""
    try:
        found: list[str] = json.loads((directory / STALLED).read_bytes())
    except (FileNotFoundError, ValueError):
        return []
    return found
