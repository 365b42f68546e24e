"""The main loop of a job: what decoders send is batched, encoded, and committed part by part."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ..stores.parquet import Row
from ..tasks.base import BatchedTask, PreparedBatch, RecordFields, Reducer, Task
from ..types import Inputs, Record
from .batching import Batcher, ClipResult, Over
from .progress import RunStats
from .sources.work_items import PendingSource
from .storage.entry import LedgerEntry
from .trial import Trial
from .workers.pool import EventQueue, Restarted
from .workers.watchdog import Watchdog
from .workers.worker import Completed, Decoded, RuntimesUsed, Started

ROWS_A_PART = 8192
BYTES_A_PART = 64 << 20
IDLE = 0.2
"""Seconds without news after which a batch that is not full runs all the same."""


@dataclass
class _SourceState:
    """A source in work: how many clips of it came, how many are encoded, what is wrong, and how the worker ended."""

    id: str
    clips: int = 0
    encoded: int = 0
    rows: int = 0
    wrong: list[Exception] = field(default_factory=list)
    entry: LedgerEntry | None = None
    gathered: dict[str, Reducer] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether the worker and the encoder are both through with it."""
        return self.entry is not None and self.encoded >= self.clips

    def build_entry(self) -> LedgerEntry | None:
        """Its ledger entry, once the worker and the encoder are both through."""
        if self.entry is None or not self.is_complete:
            return None
        if not self.wrong:
            return replace(self.entry, rows=self.rows)
        first = self.wrong[0]
        message = f"{len(self.wrong)} of {self.clips} windows: {first}"
        return replace(
            self.entry, status="error", stage="encode", error=type(first).__name__, message=message, rows=self.rows
        )


class EventSource(Protocol):
    """Where events come from: a crew of this machine, or a cluster."""

    buffer: EventQueue

    def close(self) -> None:
        """Stop everything that is at work."""


class Committer(Protocol):
    """Where rows and entries go, part by part."""

    def commit(
        self,
        rows: Sequence[Row],
        finished: Sequence[LedgerEntry],
        *,
        forget: Collection[str] = (),
        unfinished: Iterable[str] = (),
        runtimes: Mapping[str, str] | None = None,
    ) -> None:
        """Keep them."""


class PendingSources(Protocol):
    """What has been ordered and is not finished."""

    def __getitem__(self, key: int) -> PendingSource: ...

    def close(self, key: int) -> None:
        """That one is finished."""


@dataclass
class JobLoop:
    """The main loop: what the crew sends is batched, encoded, and committed part by part."""

    task: Task
    sink: Committer
    orders: PendingSources
    tally: RunStats
    batcher: Batcher
    alone: frozenset[str] = frozenset()
    _sources: dict[int, _SourceState] = field(default_factory=dict)
    _rows: list[Row] = field(default_factory=list)
    _bytes: int = 0
    _finished: list[LedgerEntry] = field(default_factory=list)
    _stale: set[str] = field(default_factory=set)
    _committed: float = field(default_factory=time.monotonic)
    decoded: int = 0
    trial: Trial = field(default_factory=Trial)
    _runtimes: dict[str, str] = field(default_factory=dict)

    def run_until_done(self, crew: EventSource, stop: threading.Event) -> None:
        """Until the crew is through, fails, or someone says stop; what is finished by then is committed."""
        try:
            while not stop.is_set() and self.step(crew):
                self.tally.show()
                if self._is_commit_due():
                    self.commit()
        finally:
            self.commit()

    def step(self, crew: EventSource) -> bool:
        """Take what comes next; False where nothing will."""
        try:
            with self.tally.time_block("decode"):
                events = crew.buffer.get(IDLE)
        except EOFError:
            self.finish()
            return False
        if not events:
            self.flush()
        for event in events:
            self._take(event)
        return True

    def flush(self) -> None:
        """Run what waits for a batch to fill."""
        self._collect(self.batcher.flush())

    def finish(self) -> None:
        """Run what waits, and believe that what has failed so far did so for reasons of its own: nothing more comes."""
        self.flush()
        for clip in self.trial.release():
            self._keep(clip)
        for key, entry in self.trial.release_sources():
            self._end(key, entry)

    def commit(self) -> None:
        """Put what there is on disk; rows of sources still in work are marked as such in the manifest."""
        if not (self._rows or self._finished or self._stale):
            return
        with self.tally.time_block("write"):
            self.sink.commit(
                self._rows,
                self._finished,
                forget=self._stale,
                unfinished=[self.orders[key].uri for key, source in self._sources.items() if source.rows],
                runtimes=self._runtimes | self.task.runtimes_used(),
            )
        self._rows, self._bytes, self._finished, self._stale = [], 0, [], set()
        self._committed = time.monotonic()

    def _is_commit_due(self) -> bool:
        """Every 20 s at first, later every twentieth of the time so far, so that parts stay few."""
        patience = min(300.0, max(20.0, self.tally.seconds / 20))
        late = time.monotonic() - self._committed > patience
        return late or len(self._rows) >= ROWS_A_PART or self._bytes >= BYTES_A_PART

    def _take(self, event: Any) -> None:
        match event:
            case Started(key, id):
                self._begin(key, id)
            case Restarted(key):
                self._drop_attempt(key)
            case Decoded(key, None):
                self.decoded += 1
                self.tally.counts["unchanged"] += 1
                self.orders.close(key)
            case Decoded(key, LedgerEntry() as entry):
                self.decoded += 1
                if key not in self._sources:  # it failed before it began
                    self._begin(key, "")
                if not isinstance(self.task, BatchedTask):
                    for each in self.trial.take_source(key, entry, self.task):
                        self._end(*each)
                else:
                    self._end(key, entry)
            case Completed(key, entry, records):
                self._finish(key, entry, records)
            case RuntimesUsed(runtimes):
                self._runtimes |= runtimes
            case (key, PreparedBatch() as piece):
                self._sources[key].clips += len(piece.spans)
                self._collect(self.batcher.add(key, piece, alone=self.orders[key].uri in self.alone))
            case (key, Record() as record):
                self._add(key, replace(record, source=self.orders[key].uri))

    def _begin(self, key: int, id: str) -> None:
        self._sources[key] = _SourceState(id)
        if self.orders[key].again:
            self._stale.add(self.orders[key].uri)

    def _end(self, key: int, entry: LedgerEntry) -> None:
        """The worker is through with it."""
        self._sources[key].entry = entry
        self._finish_if_complete(key)

    def _collect(self, results: Iterator[ClipResult]) -> None:
        with self.tally.time_block("encode"):
            for clip in results:
                if self.trial.watch_batch(clip):
                    self._keep(clip)
                    continue
                for each in self.trial.take(clip, self.task):
                    self._keep(each)

    def _keep(self, clip: ClipResult) -> None:
        source, uri = self._sources[clip.key], self.orders[clip.key].uri
        source.encoded += 1
        if isinstance(clip.result, Exception):
            source.wrong.append(clip.result)
        else:
            self._add_record(clip.key, Record(uri, clip.start, clip.stop, clip.model, clip.kind, **clip.result))
        self._finish_if_complete(clip.key)

    def _add_record(self, key: int, record: Record) -> None:
        """A record of the source, or its share in the one that the source will have."""
        gathered = self._sources[key].gathered
        if record.model not in gathered and (reducer := self.task.reducer()):
            gathered[record.model] = reducer
        if record.model in gathered:
            gathered[record.model].add(record)
        else:
            self._add(key, record)

    def _add(self, key: int, record: Record) -> None:
        source = self._sources[key]
        self._rows.append(Row(source.id, record))
        self._bytes += record.nbytes
        source.rows += 1

    def _finish_if_complete(self, key: int) -> None:
        source = self._sources[key]
        if source.is_complete and not source.wrong:  # the mean of a part is not that of the whole
            for reducer in source.gathered.values():
                self._add(key, reducer.record())
        if (entry := source.build_entry()) is not None:
            self._finished.append(entry)
            self.tally.add(entry)
            self.orders.close(key)
            del self._sources[key]

    def _finish(self, key: int, entry: LedgerEntry | None, records: Sequence[Record]) -> None:
        if entry is None:
            self.tally.counts["unchanged"] += 1
            self.orders.close(key)
            return
        self._begin(key, entry.id)
        for record in records:
            self._add(key, record)
        self._sources[key].entry = entry
        self._finish_if_complete(key)

    def _drop_attempt(self, key: int) -> None:
        """A worker died on it: nothing of this attempt may stay."""
        uri = self.orders[key].uri
        self.batcher.drop(key)
        self.trial.drop(key)
        if self._sources.pop(key, None) is not None:
            self._rows = [row for row in self._rows if row.record.source != uri]
            self._stale.add(uri)


def batch_runner(task: Task) -> Callable[[str, Inputs], Sequence[RecordFields]]:
    """What turns a batch into results; nothing where a task takes its sources whole."""
    return task.run_batch if isinstance(task, BatchedTask) else _refuse_batch


def watch_sources(watchdog: Watchdog, orders: PendingSources) -> Over:
    """The watchdog, told the names of the sources."""
    return lambda model, keys: watchdog.watch_batch(model, [orders[key].uri for key in keys])


def _refuse_batch(model: str, inputs: Inputs) -> Sequence[RecordFields]:
    raise AssertionError(f"{model} takes its sources whole, yet a piece of one came")
