"""What happens in a run, counted: for a progress line while it goes on, and for the report at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .storage.entry import LedgerEntry

SHOWN_FAILURES = 20
INTERVAL = 0.5
"""Seconds between two calls of `on_progress`."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands.

    done, failed, skipped, unchanged   sources so far
    total          sources in all; None until every folder has been listed
    rows           vectors so far
    seconds, rate, eta   since the start; sources a second; seconds left, None while unknown
    decode_share, encode_share   of the main loop's time: waiting for the decoders, busy in the encoder
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


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did.

    output, place   the job directory; where it is, which is the URL of one in a store, of which `output` is the copy
    done, failed, skipped, unchanged   sources; `unchanged` were finished by an earlier run
    failed_before   of the unchanged: those with an error in the ledger, which `retry_failed` would do again
    rows            vectors written
    failures        the first few entries that are errors; the ledger has them all
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
    """The counts of a run and its clocks."""

    on_progress: Callable[[Progress], None] | None = None
    started: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)
    clocks: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    total: int | None = None
    failures: list[LedgerEntry] = field(default_factory=list)
    _shown: float = 0.0

    def add(self, entry: LedgerEntry) -> None:
        """One more source is finished."""
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
        """Since the start of the run."""
        return time.monotonic() - self.started

    def show(self, *, last: bool = False) -> None:
        """Tell whoever listens, not more often than INTERVAL."""
        if self.on_progress and (last or self.seconds - self._shown > INTERVAL):
            self._shown = self.seconds
            self.on_progress(self.progress())

    def progress(self) -> Progress:
        """Where the run stands now."""
        c, seconds = self.counts, self.seconds
        here = c["ok"] + c["error"] + c["skipped"]
        rate = here / seconds if seconds else 0.0
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
        """The end of the run."""
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
