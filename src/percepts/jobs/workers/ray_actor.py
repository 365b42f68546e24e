"""What runs on a node of a cluster: hands of orders in, everything that comes of them out, in one piece each."""

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
    """Orders for a crew that outlives the hand it is given: between hands it is told to wait."""

    def __init__(self) -> None:
        self._orders: deque[WorkItem] = deque()

    def put(self, orders: Iterable[WorkItem]) -> None:
        self._orders.extend(orders)

    def __iter__(self) -> Iterator[WorkItem]:
        return self

    def __next__(self) -> WorkItem:
        return self._orders.popleft() if self._orders else WAIT


class SourceBatch:
    """The orders of one hand, and what has come of them: what a job directory is to a run of its own."""

    def __init__(self, orders: Sequence[WorkItem]):
        self._orders = {order.key: order for order in orders}
        self._keys = {printable_name(order.uri): order.key for order in orders}
        self._records: dict[int, list[Record]] = {}
        self._entries: dict[int, LedgerEntry] = {}
        self._closed: set[int] = set()

    def __getitem__(self, key: int) -> PendingSource:
        return PendingSource(printable_name(self._orders[key].uri), again=False)

    def close(self, key: int) -> None:
        """That one is finished."""
        self._closed.add(key)

    @property
    def done(self) -> bool:
        """Whether all are."""
        return len(self._closed) == len(self._orders)

    def commit(
        self,
        rows: Sequence[Row],
        finished: Sequence[LedgerEntry],
        *,
        forget: Collection[str] = (),
        unfinished: Iterable[str] = (),
        runtimes: Mapping[str, str] | None = None,
    ) -> None:
        """Keep them, in memory."""
        for uri in forget:
            self._records.pop(self._keys[uri], None)
        for row in rows:
            self._records.setdefault(self._keys[row.record.source], []).append(row.record)
        self._entries.update((self._keys[entry.uri], entry) for entry in finished)

    def collect_events(self) -> list[Completed]:
        """Everything that came of each order."""
        return [Completed(key, self._entries.get(key), tuple(self._records.get(key, ()))) for key in self._orders]


class JobActor:
    """One process of the cluster: a crew, a model that stays loaded, and an eye on it."""

    def __init__(self, perform: SourceProcessor, workers: int, batch_size: int):
        self._task, self._feed = perform.task, _BatchFeed()
        self._crew = WorkerPool(perform, self._feed, workers)
        self._batcher = Batcher(batch_runner(self._task), batch_size)
        self._trial, self._rehearsed = Trial(), False
        self._watchdog = Watchdog()
        self._watchdog.__enter__()  # for the life of this process

    def _rehearse(self) -> None:
        """Once, with the first hand: WeightsError and MachineError end the run, and are no source's."""
        if not self._rehearsed and isinstance(self._task, BatchedTask):
            with self._watchdog.watch_batch(self._task.name, ()):
                rehearse(self._task)
        self._rehearsed = True

    def ready(self) -> None:
        """Comes back once there is a process, and it could be told what to do."""

    def work(self, orders: Sequence[WorkItem]) -> list[Completed | RuntimesUsed]:
        """Everything that comes of these orders."""
        hand = SourceBatch(orders)
        self._batcher.watch_batch = watch_sources(self._watchdog, hand)
        self._rehearse()
        run = JobLoop(self._task, hand, hand, RunStats(), self._batcher, trial=self._trial)
        self._feed.put(orders)
        while not hand.done and run.step(self._crew):
            if run.decoded == len(orders):  # nothing more comes that could fill a batch
                run.finish()
        run.commit()
        ran = self._task.runtimes_used()
        return [RuntimesUsed(ran), *hand.collect_events()]
