"""Batch and encode what the workers send, and commit the results part by part: the main loop of a job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ..stores.parquet import Row
from ..tasks.base import BatchedTask, PreparedBatch, RecordFields, Reducer, Task
from ..types import Inputs, Record
from .batching import Batcher, CallContext, ClipResult
from .progress import RunStats
from .sources.work_items import PendingSource
from .storage.entry import LedgerEntry
from .trial import Trial
from .workers.event_queue import EventQueue, Restarted
from .workers.watchdog import Watchdog
from .workers.worker import Completed, Decoded, RuntimesUsed, Started

ROWS_A_PART = 8192
BYTES_A_PART = 64 << 20
IDLE = 0.2
"""Seconds without an event after which a batch runs although it is not full."""


@dataclass
class _SourceState:
    """The state of a source that is being processed.

    id         content id; "" until it is known
    clips      received from the worker so far
    encoded    clips that the model is done with
    rows       added for it so far
    wrong      errors of the model on its clips
    entry      ledger entry that the worker made; None until the worker is done
    reducers   by model, for a task that wants one row for each source
    """

    id: str
    clips: int = 0
    encoded: int = 0
    rows: int = 0
    wrong: list[Exception] = field(default_factory=list)
    entry: LedgerEntry | None = None
    reducers: dict[str, Reducer] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether the worker and the model are both done with it."""
        return self.entry is not None and self.encoded >= self.clips

    def build_entry(self) -> LedgerEntry | None:
        """Return its ledger entry once the worker and the model are both done with it, else None."""
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
    """The source of events: the worker pool of this machine, or that of a Ray cluster."""

    buffer: EventQueue

    def close(self) -> None:
        """Stop all workers."""


class Committer(Protocol):
    """The destination of rows and ledger entries, part by part: a job directory, or the batch of a Ray actor."""

    def commit(
        self,
        rows: Sequence[Row],
        finished: Sequence[LedgerEntry],
        *,
        forget: Collection[str] = (),
        unfinished: Iterable[str] = (),
        runtimes: Mapping[str, str] | None = None,
    ) -> None:
        """Keep these rows and entries; `JobDirectory.commit` describes the arguments."""


class PendingSources(Protocol):
    """The sources that workers have received and not yet finished, by key."""

    def __getitem__(self, key: int) -> PendingSource: ...

    def close(self, key: int) -> None:
        """Note that a source is finished."""


@dataclass
class JobLoop:
    """The main loop of a run.

    task, batcher   the task, and what runs its model on batches
    committer       where rows and entries go
    pending         the sources that workers have received
    stats           counters of the run
    isolated        sources whose clips run in batches of their own, since an earlier run hung near them
    decoded         sources that the workers are done with
    trial           holds back the first failures of a model
    """

    task: Task
    committer: Committer
    pending: PendingSources
    stats: RunStats
    batcher: Batcher
    isolated: frozenset[str] = frozenset()
    _sources: dict[int, _SourceState] = field(default_factory=dict)
    _rows: list[Row] = field(default_factory=list)
    _bytes: int = 0
    _finished: list[LedgerEntry] = field(default_factory=list)
    _stale: set[str] = field(default_factory=set)
    _committed: float = field(default_factory=time.monotonic)
    decoded: int = 0
    trial: Trial = field(default_factory=Trial)
    _runtimes: dict[str, str] = field(default_factory=dict)

    def run_until_done(self, events: EventSource, stop: threading.Event) -> None:
        """Process events until the workers are done or fail, or until `stop` is set; then commit what is finished."""
        try:
            while not stop.is_set() and self.step(events):
                self.stats.show()
                if self._is_commit_due():
                    self.commit()
        finally:
            self.commit()

    def step(self, events: EventSource) -> bool:
        """Process the next events; return False when no more will come."""
        try:
            with self.stats.time_block("decode"):
                received = events.buffer.get(IDLE)
        except EOFError:
            self.finish()
            return False
        # The model is faster than the workers, so waiting for a full batch would only leave it idle.
        if not received:
            self.flush()
        for event in received:
            self._handle(event)
        return True

    def flush(self) -> None:
        """Run the batches that are not full."""
        self._collect(self.batcher.flush())

    def finish(self) -> None:
        """Run the last batches, and record the failures that were held back: no more sources come to explain them."""
        self.flush()
        for clip in self.trial.release():
            self._keep_result(clip)
        for key, entry in self.trial.release_sources():
            self._finish_decoding(key, entry)

    def commit(self) -> None:
        """Write the collected rows and entries; the manifest names the sources whose rows are not complete yet."""
        if not (self._rows or self._finished or self._stale):
            return
        with self.stats.time_block("write"):
            self.committer.commit(
                self._rows,
                self._finished,
                forget=self._stale,
                unfinished=[self.pending[key].uri for key, source in self._sources.items() if source.rows],
                runtimes=self._runtimes | self.task.runtimes_used(),
            )
        self._rows, self._bytes, self._finished, self._stale = [], 0, [], set()
        self._committed = time.monotonic()

    def _is_commit_due(self) -> bool:
        """Return whether the rows are many or old enough for a part."""
        # Every 20 s at first, later every twentieth of the time so far: a long job has few parts, a killed one loses
        # at most 5 minutes.
        patience = min(300.0, max(20.0, self.stats.seconds / 20))
        late = time.monotonic() - self._committed > patience
        return late or len(self._rows) >= ROWS_A_PART or self._bytes >= BYTES_A_PART

    def _handle(self, event: Any) -> None:
        match event:
            case Started(key, id):
                self._begin(key, id)
            case Restarted(key):
                self._drop_attempt(key)
            case Decoded(key, None):
                self.decoded += 1
                self.stats.counts["unchanged"] += 1
                self.pending.close(key)
            case Decoded(key, LedgerEntry() as entry):
                self.decoded += 1
                if key not in self._sources:  # it failed before its content id was known
                    self._begin(key, "")
                # Such a task runs its model in the worker, so failures of the model arrive as entries.
                if not isinstance(self.task, BatchedTask):
                    for each in self.trial.take_source(key, entry, self.task):
                        self._finish_decoding(*each)
                else:
                    self._finish_decoding(key, entry)
            case Completed(key, entry, records):
                self._take_completed(key, entry, records)
            case RuntimesUsed(runtimes):
                self._runtimes |= runtimes
            case (key, PreparedBatch() as prepared):
                self._sources[key].clips += len(prepared.spans)
                self._collect(self.batcher.add(key, prepared, alone=self.pending[key].uri in self.isolated))
            # Workers leave the source empty, since a name in every record would cost memory and time.
            case (key, Record() as record):
                self._add_row(key, replace(record, source=self.pending[key].uri))

    def _begin(self, key: int, id: str) -> None:
        self._sources[key] = _SourceState(id)
        # The rows of an earlier run go in the same commit that brings the new ones.
        if self.pending[key].again:
            self._stale.add(self.pending[key].uri)

    def _finish_decoding(self, key: int, entry: LedgerEntry) -> None:
        """Note that the worker is done with a source."""
        self._sources[key].entry = entry
        self._finish_if_complete(key)

    def _collect(self, results: Iterator[ClipResult]) -> None:
        with self.stats.time_block("encode"):
            for clip in results:
                if self.trial.is_proved(clip):
                    self._keep_result(clip)
                    continue
                for each in self.trial.take(clip, self.task):
                    self._keep_result(each)

    def _keep_result(self, clip: ClipResult) -> None:
        source, uri = self._sources[clip.key], self.pending[clip.key].uri
        source.encoded += 1
        if isinstance(clip.result, Exception):
            source.wrong.append(clip.result)
        else:
            self._add_record(clip.key, Record(uri, clip.start, clip.stop, clip.model, clip.kind, **clip.result))
        self._finish_if_complete(clip.key)

    def _add_record(self, key: int, record: Record) -> None:
        """Add a record as a row, or to the reducer that will make one row of all records of the source."""
        reducers = self._sources[key].reducers
        if record.model not in reducers and (reducer := self.task.reducer()):
            reducers[record.model] = reducer
        if record.model in reducers:
            reducers[record.model].add(record)
        else:
            self._add_row(key, record)

    def _add_row(self, key: int, record: Record) -> None:
        source = self._sources[key]
        self._rows.append(Row(source.id, record))
        self._bytes += record.nbytes
        source.rows += 1

    def _finish_if_complete(self, key: int) -> None:
        source = self._sources[key]
        if source.is_complete and not source.wrong:  # the mean over a part of a source is not the mean over all of it
            for reducer in source.reducers.values():
                self._add_row(key, reducer.record())
        if (entry := source.build_entry()) is not None:
            self._finished.append(entry)
            self.stats.add(entry)
            self.pending.close(key)
            del self._sources[key]

    def _take_completed(self, key: int, entry: LedgerEntry | None, records: Sequence[Record]) -> None:
        if entry is None:
            self.stats.counts["unchanged"] += 1
            self.pending.close(key)
            return
        self._begin(key, entry.id)
        for record in records:
            self._add_row(key, record)
        self._sources[key].entry = entry
        self._finish_if_complete(key)

    def _drop_attempt(self, key: int) -> None:
        """Remove everything of a source whose worker died, since it starts from the beginning again."""
        uri = self.pending[key].uri
        self.batcher.drop(key)
        self.trial.drop(key)
        if self._sources.pop(key, None) is not None:
            self._rows = [row for row in self._rows if row.record.source != uri]
            self._stale.add(uri)  # rows of this attempt may be in a part already


def batch_runner(task: Task) -> Callable[[str, Inputs], Sequence[RecordFields]]:
    """Return the function that runs the model on a batch; a task that works source by source has none."""
    return task.run_batch if isinstance(task, BatchedTask) else _refuse_batch


def watch_sources(watchdog: Watchdog, pending: PendingSources) -> CallContext:
    """Return `Watchdog.watch_batch` for batches that name their sources by key."""
    return lambda model, keys: watchdog.watch_batch(model, [pending[key].uri for key in keys])


def _refuse_batch(model: str, inputs: Inputs) -> Sequence[RecordFields]:
    raise AssertionError(f"{model} works source by source, yet a batch of prepared inputs came")
