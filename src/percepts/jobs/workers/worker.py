"""One source in, its pieces or records and its outcome out; runs in a process that hostile media may take down.

Started by `workers.py` as `python -m percepts.jobs.workers.worker ADDRESS MARKER`. It speaks over one connection: first
it is told the import path and the task, then it takes hands of orders until the connection closes.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BufferedReader
from mimetypes import guess_type
from pathlib import Path
from typing import IO, cast

from ... import media
from ...errors import EncodeError, MachineError, MediaError, NotMedia, PerceptsError, WeightsError
from ...media import Probe, Source, is_url, probe
from ...media.limits import iterate_within_limit
from ...media.source import name_of, open_source
from ...stores.remote import is_remote
from ...support.machine import cpu_limit, cpu_used, describe_machine_fault, is_out_of_memory, limit_cpu, limit_data
from ...tasks.base import BatchedTask, PerSourceTask, PreparedBatch, Task, mark_stage
from ...types import Record
from ..batching import invalid_reason
from ..rehearsal import rehearse
from ..sources import containers
from ..sources.expand import NamedPlaces, read_remote
from ..sources.walk import WorkItem, printable_name
from ..storage.entry import LedgerEntry, Stage, Status

NOWHERE = (-1, -1)
"""Size and time in the entry of a URL: what it gave once is not asked for again."""
IN_MEMORY = 64 << 20
"""Pictures up to this many bytes are read once, and hashed and decoded from memory."""


@dataclass(frozen=True, slots=True)
class Started:
    """An order is being worked on; `id` is the content id of its bytes."""

    key: int
    id: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """An order is finished; `entry` is None where the bytes are those already in the tables."""

    key: int
    entry: LedgerEntry | None
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """The run cannot go on: what is wrong with the model, or with the machine."""

    error: PerceptsError


@dataclass(frozen=True, slots=True)
class Completed:
    """All of an order at once, from a machine that runs the model, too; `entry` is None as in Done."""

    key: int
    entry: LedgerEntry | None
    records: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class RuntimesUsed:
    """Which runtimes a machine elsewhere chose for its models."""

    runtimes: dict[str, str]


Event = Started | tuple[int, PreparedBatch | Record] | Decoded | Broken

PARCEL_BYTES = 1 << 20
PARCEL_SECONDS = 0.25
"""Events travel together, since a message costs as much as a tenth of a small picture: up to these limits."""


@dataclass(slots=True)
class SourceProcessor:
    """How one order is carried out: a generator of events that never raises for what a source holds."""

    task: Task
    fetcher: media.Fetcher | None = None
    max_seconds: float | None = None
    named: NamedPlaces = field(default_factory=NamedPlaces)

    @property
    def whole(self) -> bool:
        """Whether the model runs here, too."""
        return isinstance(self.task, PerSourceTask)

    def rehearse(self) -> None:
        """Run the model on a made-up item where it runs here; its errors are those of `canary.rehearse`."""
        if self.whole:
            rehearse(self.task)

    def __call__(self, order: WorkItem) -> Iterator[Event]:
        """Begun, pieces or records, and at last Done.

        Raises WeightsError or MachineError where no other source would fare better.
        """
        if order.outcome is not None:
            yield Decoded(order.key, order.outcome)
            return
        began = time.perf_counter()
        entry = LedgerEntry("", printable_name(order.uri), "", 0, 0, "ok", attempts=order.attempts + 1)
        source: Source = order.uri
        notes: list[str] = []
        found, starved = 0, False
        try:
            with mark_stage("fetch"):
                source, entry = self._fetch(order.uri, entry)
            if entry.sha256 == order.known:
                yield Decoded(order.key, None)
                return
            yield Started(order.key, entry.id)
            with mark_stage("probe"):
                medium = probe(source)
            if medium.kind != "image" and _is_file(order.uri):
                source = order.uri
            for product in iterate_within_limit(self._process(source, medium, notes), self.max_seconds):
                found += 1
                yield order.key, product
            if notes:
                status: Status = "ok" if found else "error"
                message = _strip_source_name(notes[0], source)
                entry = replace(entry, status=status, stage="decode", error="TruncatedMedia", message=message)
            elif not found and (why := self.task.explain_empty(medium)):
                entry = replace(entry, status="skipped", stage="prepare", message=why)
        except (WeightsError, MachineError):
            raise
        except Exception as error:  # whatever one source does must not reach another
            if why := describe_machine_fault(error):
                raise MachineError(f"at {entry.uri}: {why}") from error
            entry, starved = _failed_entry(entry, error, source), is_out_of_memory(error)
        yield Decoded(order.key, replace(entry, seconds=time.perf_counter() - began), starved)

    def _process(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch | Record]:
        if isinstance(self.task, BatchedTask):
            yield from self.task.prepare_source(source, medium, notes)
        elif isinstance(self.task, PerSourceTask):
            with mark_stage("encode"):
                for record in self.task.process_source(source, medium, notes):
                    if why := invalid_reason(record.vector, record.labels, record.scores, record.score):
                        raise EncodeError(f"{record.model} gave {why} at {record.start} s")
                    yield record

    def _fetch(self, uri: str, entry: LedgerEntry) -> tuple[Source, LedgerEntry]:
        if containers.split_member(uri):
            data, mtime_ns = containers.read_member(uri, self.named.folders)
            return data, _with_identity(entry, hashlib.sha256(data), -1, mtime_ns)
        if is_remote(uri):
            self.named.check(uri)
            data = read_remote(uri)
            return data, _with_identity(entry, hashlib.sha256(data), *NOWHERE)
        if is_url(uri) and not os.path.lexists(uri):
            data = (self.fetcher or media.Fetcher(())).get(uri)
            return data, _with_identity(entry, hashlib.sha256(data), *NOWHERE)
        with open_source(uri) as file:
            status = os.fstat(file.fileno())
            if status.st_size <= IN_MEMORY:
                data = file.read(status.st_size)  # a file of /proc says 0, and may block for ever when it is read
                return data, _with_identity(entry, hashlib.sha256(data), len(data), status.st_mtime_ns)
            digest = hashlib.file_digest(cast(BufferedReader, file), "sha256")
        return uri, _with_identity(entry, digest, status.st_size, status.st_mtime_ns)


def _is_file(uri: str) -> bool:
    """Return whether a source is a file of its own: neither a member of one, nor in a store, nor a URL."""
    return not containers.split_member(uri) and not is_remote(uri) and os.path.lexists(uri)


def _with_identity(entry: LedgerEntry, digest: hashlib._Hash, size: int, mtime_ns: int) -> LedgerEntry:
    sha256 = digest.hexdigest()
    return replace(entry, id=sha256[:32], sha256=sha256, size=size, mtime_ns=mtime_ns)


def _failed_entry(entry: LedgerEntry, error: Exception, source: Source) -> LedgerEntry:
    where: Stage = getattr(error, "stage", "decode")
    if where == "encode" and isinstance(error, MediaError):  # a task that takes a source whole decodes it, too
        where = "decode"
    foreign = isinstance(error, NotMedia) and where in ("fetch", "probe") and not _looks_like_media(entry.uri)
    status: Status = "skipped" if foreign else "error"
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    message = _strip_source_name(words or type(error).__name__, source)
    return replace(entry, status=status, stage=where, error=type(error).__name__, message=message)


def _strip_source_name(message: str, source: Source) -> str:
    """Without the name that begins it: the entry has that in a column of its own."""
    return message.removeprefix(f"{name_of(source)}: ")


def _looks_like_media(uri: str) -> bool:
    """Its name promises a picture, sound or film: then that it is none is an error, not another file lying about."""
    if containers.split_member(uri):
        return True
    kind = guess_type(Path(uri).name)[0] or ""
    return kind.split("/")[0] in ("image", "audio", "video")


@dataclass(slots=True)
class EventBuffer:
    """Events on their way to the supervisor, in parcels."""

    send: Callable[[list[Event]], None]
    _events: list[Event] = field(default_factory=list)
    _bytes: int = 0
    _since: float = field(default_factory=time.monotonic)

    def add(self, event: Event) -> None:
        """Take an event; send what waits where that is much or long."""
        self._events.append(event)
        self._bytes += event_size(event)
        if self._bytes >= PARCEL_BYTES or time.monotonic() - self._since > PARCEL_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if self._events:
            self.send(self._events)
        self._events, self._bytes, self._since = [], 0, time.monotonic()


EVENT_BYTES = 4096
"""What an event costs beside its arrays: a queue of empty ones would hold a whole job otherwise."""


def event_size(event: Event) -> int:
    """Bytes that an event holds while it waits, about."""
    return EVENT_BYTES + event[1].nbytes if isinstance(event, tuple) else EVENT_BYTES


CPU_SECONDS = 300
"""Of one order from one event to the next: a decoder that computes longer than that has lost its way."""
MEMORY_LIMIT = "PERCEPTS_WORKER_MEMORY"
"""Of the environment: bytes that a decode worker may have for itself (`support.machine.memory_limit`)."""


def limit_time() -> None:
    """From here on so many seconds of CPU; then the system ends this process."""
    limit_cpu(CPU_SECONDS)


def nearly_spent() -> bool:
    """Whether so little is left until the machine's own limit of CPU that a file could be blamed for those before."""
    limit = cpu_limit()
    if limit is None:
        return False
    used = cpu_used()
    return used > limit / 2 and limit - used < CPU_SECONDS


class Marker:
    """A file that holds the key of the order in work, for the supervisor to read when this process is dead."""

    NONE = -1

    def __init__(self, file: IO[bytes]):
        self._file = file

    def set(self, key: int) -> None:
        """This order is in work; NONE: none is."""
        self._file.seek(0)
        self._file.write(key.to_bytes(8, "little", signed=True))

    def get(self) -> int:
        """The key that was set last."""
        self._file.seek(0)
        return int.from_bytes(self._file.read(8), "little", signed=True)


class _Serving:
    """Carries out orders one by one, until this process had better be replaced by a fresh one."""

    def __init__(self, perform: SourceProcessor, outbox: EventBuffer, marker: Marker):
        self._perform, self._outbox, self._marker = perform, outbox, marker
        self._limited = not perform.whole  # a model has its own measure
        self._fresh = True

    def work(self, orders: Sequence[WorkItem]) -> bool:
        """Do them; False where this process is to end, and what is left of them is for another."""
        if self._fresh:
            self._perform.rehearse()
        for order in orders:
            if not self._fresh and nearly_spent():
                return self._retire()
            self._marker.set(order.key)
            if not self._do(order):
                return self._retire()
            self._fresh = False
        self._outbox.flush()
        return True

    def _do(self, order: WorkItem) -> bool:
        """Do one; False where memory ran out, after which the heap of this process is not to be trusted.

        A file is blamed for that only by a process that held no other before.
        """
        if self._limited:
            limit_time()
        for event in self._perform(order):
            spoilt = self._limited and isinstance(event, Decoded) and event.out_of_memory
            if not spoilt or self._fresh:
                self._outbox.add(event)
            if spoilt:
                return False
            if self._limited:
                limit_time()
        return True

    def _retire(self) -> bool:
        self._outbox.flush()
        self._marker.set(Marker.NONE)
        return False


def main() -> None:
    """Serve hands of orders until the connection closes; the marker file holds the key of the order in work."""
    from multiprocessing.connection import Client

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    cpu_limit()  # asked before a lower one is set
    key = bytes.fromhex(os.environ.pop("PERCEPTS_WORKER_KEY"))
    with Client(sys.argv[1], authkey=key) as connection, open(sys.argv[2], "r+b", buffering=0) as file:
        connection.send(os.getpid())
        sys.path[:] = connection.recv()
        perform: SourceProcessor = connection.recv()
        if not perform.whole and (limit := os.environ.get(MEMORY_LIMIT)):
            limit_data(int(limit))
        serving = _Serving(perform, EventBuffer(connection.send), Marker(file))
        with suppress(EOFError, BrokenPipeError, ConnectionResetError):
            try:
                while serving.work(connection.recv()):
                    pass
            except PerceptsError as error:
                connection.send([Broken(error)])


if __name__ == "__main__":
    from percepts.jobs.workers import worker  # this module again, under its name: what it sends must be known elsewhere

    worker.main()
