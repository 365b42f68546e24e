"""Count what happens in a run, for its progress display and its final report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..support.short_repr import ShortRepr
from .storage.entry import LedgerEntry

SHOWN_FAILURES = 20
INTERVAL = 0.5
"""Seconds between two calls of `on_progress`."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run.

    done, failed, skipped, unchanged   sources so far
    total          number of all sources; None until every folder has been listed
    rows           rows written so far
    seconds        since the start
    rate           sources per second
    eta            seconds left; None while unknown
    decode_share   share of the main loop's time spent waiting for the decoders, 0 to 1
    encode_share   share of the main loop's time spent in the model, 0 to 1
    """

    done: int
    failed: int
    skipped: int
    unchanged: int
    total: int | None
    rows: int
    seconds: float
    rate: float
    eta: float | None
    decode_share: float
    encode_share: float


@dataclass(frozen=True, slots=True, repr=False)
class Report(ShortRepr):
    """The outcome of a run.

    output          the job directory; for one in an object store, its local copy
    place           the job directory as the user named it: a path, or the URL of an object store
    done, failed, skipped, unchanged   sources; `unchanged` were finished by an earlier run
    failed_before   unchanged sources with an error in the ledger, which `retry_failed` would process again
    rows            rows written
    seconds         duration of the run
    decode_share, encode_share   as in `Progress`
    interrupted     whether a signal ended the run early
    failures        the first few ledger entries that are errors; the ledger has all of them
    """

    output: Path
    place: str
    done: int
    failed: int
    skipped: int
    unchanged: int
    failed_before: int
    rows: int
    seconds: float
    decode_share: float
    encode_share: float
    interrupted: bool
    failures: tuple[LedgerEntry, ...]


@dataclass
class RunStats:
    """The counters and clocks of a run."""

    on_progress: Callable[[Progress], None] | None = None
    started: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)
    clocks: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    total: int | None = None
    failures: list[LedgerEntry] = field(default_factory=list)
    _shown: float = 0.0

    def add(self, entry: LedgerEntry) -> None:
        """Count a finished source."""
        self.counts[entry.status] += 1
        self.rows += entry.rows
        if entry.status == "error" and len(self.failures) < SHOWN_FAILURES:
            self.failures.append(entry)

    @contextmanager
    def time_block(self, name: str) -> Iterator[None]:
        """Add the time of the block to the clock of that name."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.clocks[name] += time.monotonic() - began  # type: ignore[assignment]

    @property
    def seconds(self) -> float:
        """Seconds since the start of the run."""
        return time.monotonic() - self.started

    def show(self, *, last: bool = False) -> None:
        """Call `on_progress`, at most once per INTERVAL unless it is the last time."""
        if self.on_progress and (last or self.seconds - self._shown > INTERVAL):
            self._shown = self.seconds
            self.on_progress(self.progress())

    def progress(self) -> Progress:
        """Return the state of the run now."""
        c, seconds = self.counts, self.seconds
        # Unchanged sources take almost no time, so they would make the rate and the time left look too good.
        here = c["ok"] + c["error"] + c["skipped"]
        rate = here / seconds if seconds else 0.0
        # Inputs may have grown since they were counted, so there may be more than the total.
        left = None if self.total is None else max(0, self.total - here - c["unchanged"])
        return Progress(
            done=c["ok"],
            failed=c["error"],
            skipped=c["skipped"],
            unchanged=c["unchanged"],
            total=self.total,
            rows=self.rows,
            seconds=seconds,
            rate=rate,
            eta=left / rate if rate and left is not None else None,
            decode_share=self._clock_share("decode"),
            encode_share=self._clock_share("encode"),
        )

    def report(self, output: Path, place: str, *, interrupted: bool) -> Report:
        """Show the progress a last time and return the final report."""
        self.show(last=True)
        c = self.counts
        return Report(
            output=output,
            place=place,
            done=c["ok"],
            failed=c["error"],
            skipped=c["skipped"],
            unchanged=c["unchanged"],
            failed_before=c["failed before"],
            rows=self.rows,
            seconds=self.seconds,
            decode_share=self._clock_share("decode"),
            encode_share=self._clock_share("encode"),
            interrupted=interrupted,
            failures=tuple(self.failures),
        )

    def _clock_share(self, name: str) -> float:
        return self.clocks[name] / (sum(self.clocks.values()) or 1.0)
