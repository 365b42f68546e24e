"""Process batches of sources in a Ray actor, and return their records and ledger entries."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ...stores.parquet import Row
from ...tasks.base import BatchedTask
from ...types import Record
from ..batching import Batcher
from ..loop import JobLoop, batch_runner, watch_sources
from ..progress import RunStats
from ..rehearsal import rehearse
from ..sources.walk import WorkItem, printable_name
from ..sources.work_items import PendingSource
from ..storage.entry import LedgerEntry
from ..trial import Trial
from .pool import WAIT, WorkerPool
from .watchdog import Watchdog
from .worker import Completed, RuntimesUsed, SourceProcessor


class _BatchFeed:
    """Yields work items, and WAIT when it is empty, so that the worker pool stays alive between batches."""

    def __init__(self) -> None:
        self._items: deque[WorkItem] = deque()

    def extend(self, items: Iterable[WorkItem]) -> None:
        self._items.extend(items)

    def __iter__(self) -> Iterator[WorkItem]:
        return self

    def __next__(self) -> WorkItem:
        return self._items.popleft() if self._items else WAIT


class SourceBatch:
    """The work items of one batch and their results in memory, in place of the job directory of a local run."""

    def __init__(self, items: Sequence[WorkItem]):
        self._items = {item.key: item for item in items}
        self._keys = {printable_name(item.uri): item.key for item in items}
        self._records: dict[int, list[Record]] = {}
        self._entries: dict[int, LedgerEntry] = {}
        self._closed: set[int] = set()

    def __getitem__(self, key: int) -> PendingSource:
        return PendingSource(printable_name(self._items[key].uri), again=False)

    def close(self, key: int) -> None:
        """Note that a source is finished."""
        self._closed.add(key)

    @property
    def done(self) -> bool:
        """Whether all sources are finished."""
        return len(self._closed) == len(self._items)

    def commit(
        self,
        rows: Sequence[Row],
        finished: Sequence[LedgerEntry],
        *,
        forget: Collection[str] = (),
        unfinished: Iterable[str] = (),
        runtimes: Mapping[str, str] | None = None,
    ) -> None:
        """Keep rows and entries in memory; `JobDirectory.commit` describes the arguments."""
        # A worker died at this source, which starts again; nothing of it is in a file yet.
        for uri in forget:
            self._records.pop(self._keys[uri], None)
        for row in rows:
            self._records.setdefault(self._keys[row.record.source], []).append(row.record)
        self._entries.update((self._keys[entry.uri], entry) for entry in finished)

    def collect_events(self) -> list[Completed]:
        """Return all results, one event for each work item."""
        return [Completed(key, self._entries.get(key), tuple(self._records.get(key, ()))) for key in self._items]


class JobActor:
    """A process of the cluster, with a worker pool, a model that stays loaded, and a watchdog."""

    def __init__(self, processor: SourceProcessor, workers: int, batch_size: int):
        self._task, self._feed = processor.task, _BatchFeed()
        self._pool = WorkerPool(processor, self._feed, workers)
        self._batcher = Batcher(batch_runner(self._task), batch_size)
        # One trial for all batches: a model that has worked once is not doubted again.
        self._trial, self._rehearsed = Trial(), False
        self._watchdog = Watchdog()
        self._watchdog.__enter__()  # it lives as long as this process

    def _rehearse(self) -> None:
        """Try the models once, before the first batch; WeightsError and MachineError end the run."""
        if not self._rehearsed and isinstance(self._task, BatchedTask):
            with self._watchdog.watch_batch(self._task.name, ()):
                rehearse(self._task)
        self._rehearsed = True

    def ready(self) -> None:
        """Return once this process exists and has received its task."""

    def work(self, items: Sequence[WorkItem]) -> list[Completed | RuntimesUsed]:
        """Process work items and return all their results."""
        batch = SourceBatch(items)
        self._batcher.watch_batch = watch_sources(self._watchdog, batch)
        self._rehearse()
        loop = JobLoop(self._task, batch, batch, RunStats(), self._batcher, trial=self._trial)
        self._feed.extend(items)
        # The pool goes on to the next batch, so its events end only when this batch is done.
        while not batch.done and loop.step(self._pool):
            if loop.decoded == len(items):  # no more clips come that could fill a batch
                loop.finish()
        loop.commit()
        runtimes = self._task.runtimes_used()
        return [RuntimesUsed(runtimes), *batch.collect_events()]
