"""Sources in, a job directory out: vectors of all that is good, a ledger entry for everything."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import encoders
from ..media.fetch import Fetcher
from ..runtimes._rows import cores
from ..stores._files import atomic
from ..stores.parquet import Row
from ..tasks.embed import DEFAULT_MODELS, Embed, Piece
from ..types import Record
from ..windows import Tail
from .batches import Batcher, Clipped
from .directory import JobDirectory
from .entry import Entry
from .mirror import check_formats, mirror
from .orders import Orders
from .plan import check_inputs, fingerprint
from .progress import Progress, Report, Tally
from .worker import Begun, Done, Perform
from .workers import Again, Crew

BATCH = 32
ROWS_A_PART = 8192
BYTES_A_PART = 64 << 20
IDLE = 0.2
"""Seconds without news after which a batch that is not full runs all the same."""


def embed(
    inputs: Iterable[str | Path] | str | Path,
    output: str | Path,
    *,
    models: Sequence[str] = (),
    fps: float = 1.0,
    hop: float | None = None,
    tail: Tail = "pad",
    exact: bool = False,
    precision: str = "float32",
    formats: Sequence[str] = ("parquet",),
    workers: int | None = None,
    batch_size: int = BATCH,
    hosts: Sequence[str] = (),
    retry_failed: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Embed files and folders into a job directory; call it again to go on after a kill, or with more inputs.

    Args:
        inputs: paths of files and folders; URLs where `hosts` allows them. With `retry_failed` it may be empty, and
            means the failed sources of the ledger.
        output: the job directory.
        models: names of encoders; none: "conse" for pictures and film frames, "melstats" for sound.
        fps: frames a second taken from films.
        hop: seconds from one window of sound to the next; None: one window's length.
        tail: what becomes of the last, shorter window: "pad", "keep" or "drop".
        exact: decode large JPEGs at full size.
        precision: of checkpoints of the hub: "float32", "int8" on a CPU, "bfloat16" on a GPU.
        formats: "parquet" always; also "npz" (one file a source) and "jsonl".
        workers: decode processes; None: one a core; 0: decode in this process (a codec that crashes takes it down).
        batch_size: clips per call of the encoder.
        hosts: names of hosts that URLs may be fetched from.
        retry_failed: do the sources with an error in the ledger again.
        overwrite: forget what the directory holds.
        on_progress: called about twice a second, in this thread.

    Raises:
        FileNotFoundError: none of the inputs exists.
        UnknownModel: no encoder of that name.
        SettingsDiffer: the directory was made with other settings; the message names them.
        JobLocked: another run is writing there.
        JobDamaged: files of the directory are missing or cut.

    Returns:
        What this run did. A source that fails does not raise: it is in `failures` and in the ledger.
    """
    specs = tuple(encoders.spec(name, precision=precision) for name in dict.fromkeys(models or DEFAULT_MODELS))
    task = Embed(specs, fps=fps, hop=hop, tail=tail, exact=exact)
    wanted = _named(inputs, may_be_empty=retry_failed)
    formats = check_formats(formats)
    output = Path(output)
    tally = Tally(on_progress)
    with _stop_on_signals() as stop, JobDirectory(output, task.settings(), specs, overwrite=overwrite) as directory:
        task = replace(task, runtimes=directory.runtimes())
        failed = directory.failures() if retry_failed else []
        orders = Orders(
            wanted or failed, output, known=directory.known(), retry={fingerprint(uri) for uri in failed}, tally=tally
        )
        crew = Crew(Perform(task, _fetcher(hosts)), iter(orders), cores() if workers is None else workers)
        try:
            Run(task, directory, orders, tally, Batcher(task.vectors, batch_size)).drain(crew, stop)
        finally:
            crew.close()
        if not stop.is_set():
            mirror(output, formats)
        report = tally.report(output, interrupted=stop.is_set())
        _write_stats(report)
    return report


@dataclass
class _Source:
    """A source in work: how many clips of it came, how many are encoded, what is wrong, and how the worker ended."""

    id: str
    clips: int = 0
    encoded: int = 0
    rows: int = 0
    wrong: list[Exception] = field(default_factory=list)
    entry: Entry | None = None

    def final(self) -> Entry | None:
        """Its ledger entry, once the worker and the encoder are both through."""
        if self.entry is None or self.encoded < self.clips:
            return None
        if not self.wrong:
            return replace(self.entry, rows=self.rows)
        first = self.wrong[0]
        message = f"{len(self.wrong)} of {self.clips} windows: {first}"
        return replace(
            self.entry, status="error", stage="encode", error=type(first).__name__, message=message, rows=self.rows
        )


@dataclass
class Run:
    """The main loop: what the crew sends is batched, encoded, and committed part by part."""

    task: Embed
    directory: JobDirectory
    orders: Orders
    tally: Tally
    batcher: Batcher
    _sources: dict[int, _Source] = field(default_factory=dict)
    _rows: list[Row] = field(default_factory=list)
    _bytes: int = 0
    _finished: list[Entry] = field(default_factory=list)
    _stale: set[str] = field(default_factory=set)
    _committed: float = field(default_factory=time.monotonic)

    def drain(self, crew: Crew, stop: threading.Event) -> None:
        """Until the crew is through or someone says stop; what is finished by then is committed."""
        while not stop.is_set():
            try:
                with self.tally.clock("decode"):
                    events = crew.buffer.get(IDLE)
            except EOFError:
                self._collect(self.batcher.flush())
                break
            if not events:
                self._collect(self.batcher.flush())
            for event in events:
                self._take(event)
            self.tally.show()
            if self._due():
                self.commit()
        self.commit()

    def commit(self) -> None:
        """Put what there is on disk; rows of sources still in work are marked as such in the manifest."""
        if not (self._rows or self._finished or self._stale):
            return
        with self.tally.clock("write"):
            self.directory.commit(
                self._rows,
                self._finished,
                forget=self._stale,
                unfinished=[self.orders[key].uri for key, source in self._sources.items() if source.rows],
                runtimes=self.task.used_runtimes(),
            )
        self._rows, self._bytes, self._finished, self._stale = [], 0, [], set()
        self._committed = time.monotonic()

    def _due(self) -> bool:
        """Every 20 s at first, later every twentieth of the time so far, so that parts stay few."""
        patience = min(300.0, max(20.0, self.tally.seconds / 20))
        late = time.monotonic() - self._committed > patience
        return late or len(self._rows) >= ROWS_A_PART or self._bytes >= BYTES_A_PART

    def _take(self, event: Any) -> None:
        match event:
            case Begun(key, id):
                self._begin(key, id)
            case Again(key):
                self._forget(key)
            case Done(key, None):
                self.tally.counts["unchanged"] += 1
                self.orders.close(key)
            case Done(key, entry):
                if key not in self._sources:  # it failed before it began
                    self._begin(key, "")
                self._sources[key].entry = entry
                self._settle(key)
            case (key, Piece() as piece):
                self._sources[key].clips += len(piece.spans)
                self._collect(self.batcher.add(key, piece))

    def _begin(self, key: int, id: str) -> None:
        self._sources[key] = _Source(id)
        if self.orders[key].again:
            self._stale.add(self.orders[key].uri)

    def _collect(self, results: Iterator[Clipped]) -> None:
        with self.tally.clock("encode"):
            for clip in results:
                self._keep(clip)

    def _keep(self, clip: Clipped) -> None:
        source, uri = self._sources[clip.key], self.orders[clip.key].uri
        source.encoded += 1
        if isinstance(clip.result, Exception):
            source.wrong.append(clip.result)
        else:
            record = Record(uri, clip.start, clip.stop, clip.model, clip.kind, clip.result)
            self._rows.append(Row(source.id, record))
            self._bytes += clip.result.nbytes
            source.rows += 1
        self._settle(clip.key)

    def _settle(self, key: int) -> None:
        if (entry := self._sources[key].final()) is not None:
            self._finished.append(entry)
            self.tally.add(entry)
            self.orders.close(key)
            del self._sources[key]

    def _forget(self, key: int) -> None:
        """A worker died on it: nothing of this attempt may stay."""
        uri = self.orders[key].uri
        self.batcher.drop(key)
        if self._sources.pop(key, None) is not None:
            self._rows = [row for row in self._rows if row.record.source != uri]
            self._stale.add(uri)


def _named(inputs: Iterable[str | Path] | str | Path, *, may_be_empty: bool) -> list[str]:
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    return check_inputs(named) if named or not may_be_empty else []


def _fetcher(hosts: Sequence[str]) -> Fetcher | None:
    return Fetcher(tuple(hosts)) if hosts else None


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM ask for an orderly end; a second Ctrl-C does not wait for it."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, _: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _write_stats(report: Report) -> None:
    with atomic(report.output / "stats.json") as file:
        file.write(json.dumps(asdict(report), indent=1, default=str).encode())
