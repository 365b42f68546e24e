"""Decode and prepare sources in a process that hostile media may crash without harm to the run.

`pool.py` starts it as `python -m percepts.jobs.workers.worker ADDRESS MARKER`. Over one connection it receives the
import path and the task, then batches of work items until the connection closes.
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
"""Size and mtime in the entry of a URL: its bytes are not fetched again to see whether they changed."""
IN_MEMORY = 64 << 20
"""Files up to this many bytes are read once, and hashed and decoded from memory."""


@dataclass(frozen=True, slots=True)
class Started:
    """The worker has started with a work item; `id` is the content id of its bytes."""

    key: int
    id: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """The worker is done with a work item; `entry` is None if the tables hold results of the same bytes."""

    key: int
    entry: LedgerEntry | None
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """The run cannot continue, because of the model or the machine."""

    error: PerceptsError


@dataclass(frozen=True, slots=True)
class Completed:
    """All results of a work item at once, from a Ray actor that also runs the model; `entry` as in Decoded."""

    key: int
    entry: LedgerEntry | None
    records: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class RuntimesUsed:
    """The runtimes that a Ray actor chose, by model."""

    runtimes: dict[str, str]


Event = Started | tuple[int, PreparedBatch | Record] | Decoded | Broken

MESSAGE_BYTES = 1 << 20
MESSAGE_SECONDS = 0.25
"""Limits up to which events travel in one message, since a message costs a tenth of the time of a small image."""


@dataclass(slots=True)
class SourceProcessor:
    """Processes one work item as a generator of events, which raises no error that a source causes."""

    task: Task
    fetcher: media.Fetcher | None = None
    max_seconds: float | None = None
    named: NamedPlaces = field(default_factory=NamedPlaces)

    @property
    def runs_model(self) -> bool:
        """Whether the model runs in the worker, too."""
        return isinstance(self.task, PerSourceTask)

    def rehearse(self) -> None:
        """Run the model on a made-up item if it runs in the worker; raise as `rehearsal.rehearse`."""
        if self.runs_model:
            rehearse(self.task)

    def __call__(self, item: WorkItem) -> Iterator[Event]:
        """Yield Started, then prepared batches or records, and at last Decoded.

        Raise WeightsError or MachineError if every other source would fail alike.
        """
        if item.outcome is not None:
            yield Decoded(item.key, item.outcome)
            return
        began = time.perf_counter()
        entry = LedgerEntry("", printable_name(item.uri), "", 0, 0, "ok", attempts=item.attempts + 1)
        source: Source = item.uri
        notes: list[str] = []
        products, starved = 0, False
        try:
            with mark_stage("fetch"):
                source, entry = self._fetch(item.uri, entry)
            if entry.sha256 == item.known:  # it was touched, but its bytes and so its rows are the same
                yield Decoded(item.key, None)
                return
            yield Started(item.key, entry.id)
            with mark_stage("probe"):
                medium = probe(source)
            # Audio and video are decoded from the file, since a copy of the stream in memory may be large.
            if medium.kind != "image" and _is_file(item.uri):
                source = item.uri
            for product in iterate_within_limit(self._process(source, medium, notes), self.max_seconds):
                products += 1
                yield item.key, product
            if notes:
                status: Status = "ok" if products else "error"
                message = _strip_source_name(notes[0], source)
                entry = replace(entry, status=status, stage="decode", error="TruncatedMedia", message=message)
            elif not products and (why := self.task.explain_empty(medium)):
                entry = replace(entry, status="skipped", stage="prepare", message=why)
        except (WeightsError, MachineError):
            raise
        except Exception as error:  # an error of one source must not reach another
            if why := describe_machine_fault(error):
                raise MachineError(f"at {entry.uri}: {why}") from error
            entry, starved = _failed_entry(entry, error, source), is_out_of_memory(error)
        yield Decoded(item.key, replace(entry, seconds=time.perf_counter() - began), starved)

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
        # A file may have a name like a URL.
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
    """Return whether a source is a file: neither a member of a container, nor in an object store, nor a URL."""
    return not containers.split_member(uri) and not is_remote(uri) and os.path.lexists(uri)


def _with_identity(entry: LedgerEntry, digest: hashlib._Hash, size: int, mtime_ns: int) -> LedgerEntry:
    sha256 = digest.hexdigest()
    return replace(entry, id=sha256[:32], sha256=sha256, size=size, mtime_ns=mtime_ns)


def _failed_entry(entry: LedgerEntry, error: Exception, source: Source) -> LedgerEntry:
    where: Stage = getattr(error, "stage", "decode")
    if where == "encode" and isinstance(
        error, MediaError
    ):  # a task that works source by source decodes while it encodes
        where = "decode"
    foreign = isinstance(error, NotMedia) and where in ("fetch", "probe") and not _looks_like_media(entry.uri)
    status: Status = "skipped" if foreign else "error"
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    message = _strip_source_name(words or type(error).__name__, source)
    return replace(entry, status=status, stage=where, error=type(error).__name__, message=message)


def _strip_source_name(message: str, source: Source) -> str:
    """Return a message without the source name at its start, which the entry has in a column of its own."""
    return message.removeprefix(f"{name_of(source)}: ")


def _looks_like_media(uri: str) -> bool:
    """Return whether a name is that of media, so that a source which is none is an error and not skipped."""
    if containers.split_member(uri):
        return True
    kind = guess_type(Path(uri).name)[0] or ""
    return kind.split("/")[0] in ("image", "audio", "video")


@dataclass(slots=True)
class EventBuffer:
    """Collects events and sends them to the supervisor together."""

    send: Callable[[list[Event]], None]
    _events: list[Event] = field(default_factory=list)
    _bytes: int = 0
    _since: float = field(default_factory=time.monotonic)

    def add(self, event: Event) -> None:
        """Add an event; send all waiting ones if they are large or old."""
        self._events.append(event)
        self._bytes += event_size(event)
        if self._bytes >= MESSAGE_BYTES or time.monotonic() - self._since > MESSAGE_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send all waiting events."""
        if self._events:
            self.send(self._events)
        self._events, self._bytes, self._since = [], 0, time.monotonic()


EVENT_BYTES = 4096
"""Bytes counted for an event beside its arrays; a bounded queue would otherwise take any number of empty ones."""


def event_size(event: Event) -> int:
    """Return about how many bytes an event holds while it waits."""
    return EVENT_BYTES + event[1].nbytes if isinstance(event, tuple) else EVENT_BYTES


CPU_SECONDS = 300
"""CPU seconds from one event of a work item to the next; a decoder that computes longer hangs."""
MEMORY_LIMIT = "PERCEPTS_WORKER_MEMORY"
"""Environment variable: bytes of memory that a decode worker may use (`support.machine.memory_limit`)."""


def limit_time() -> None:
    """Give this process CPU_SECONDS of CPU from now on, after which the system ends it."""
    limit_cpu(CPU_SECONDS)


def nearly_spent() -> bool:
    """Return whether the machine's own CPU limit is so near that the next file would be blamed for earlier ones."""
    limit = cpu_limit()
    if limit is None:
        return False
    used = cpu_used()
    return used > limit / 2 and limit - used < CPU_SECONDS


class Marker:
    """A file with the key of the current work item, which the supervisor reads after this process has died."""

    NONE = -1

    def __init__(self, file: IO[bytes]):
        self._file = file

    def set(self, key: int) -> None:
        """Write the key of the current work item; NONE if there is none."""
        self._file.seek(0)
        self._file.write(key.to_bytes(8, "little", signed=True))

    def get(self) -> int:
        """Read the key that was written last."""
        self._file.seek(0)
        return int.from_bytes(self._file.read(8), "little", signed=True)


class _ItemLoop:
    """Processes work items one by one, until a fresh process should replace this one."""

    def __init__(self, processor: SourceProcessor, buffer: EventBuffer, marker: Marker):
        self._processor, self._buffer, self._marker = processor, buffer, marker
        self._limited = not processor.runs_model  # decoders have limits of CPU and memory, models have none
        self._fresh = True

    def work(self, items: Sequence[WorkItem]) -> bool:
        """Process work items; return False if this process must end and leave the rest to another."""
        if self._fresh:
            self._processor.rehearse()
        for item in items:
            if not self._fresh and nearly_spent():
                return self._retire()
            # Before the work starts, so that the supervisor knows the item even if the process dies at once.
            self._marker.set(item.key)
            if not self._process(item):
                return self._retire()
            self._fresh = False
        self._buffer.flush()
        return True

    def _process(self, item: WorkItem) -> bool:
        """Process one work item; return False if memory ran out, since the heap of this process is then not trusted.

        Only a process that held no other file before blames the file for that.
        """
        if self._limited:
            limit_time()
        for event in self._processor(item):
            starved = self._limited and isinstance(event, Decoded) and event.out_of_memory
            # A used process does not report it: the item goes to a fresh one, which has all its memory.
            if not starved or self._fresh:
                self._buffer.add(event)
            if starved:
                return False
            if self._limited:
                limit_time()
        return True

    def _retire(self) -> bool:
        self._buffer.flush()
        self._marker.set(Marker.NONE)
        return False


def main() -> None:
    """Process batches of work items until the connection closes.

    The marker file names the current item, so that the supervisor knows which one crashed this process.
    """
    from multiprocessing.connection import Client

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    cpu_limit()  # remembers the limit of the machine, before a lower one is set
    # Taken out of the environment, so that programs which decoders start do not inherit it.
    key = bytes.fromhex(os.environ.pop("PERCEPTS_WORKER_KEY"))
    with Client(sys.argv[1], authkey=key) as connection, open(sys.argv[2], "r+b", buffering=0) as file:
        connection.send(os.getpid())
        sys.path[:] = connection.recv()
        processor: SourceProcessor = connection.recv()
        # A model maps more memory than it uses, so a limit would be hit by its weights.
        if not processor.runs_model and (limit := os.environ.get(MEMORY_LIMIT)):
            limit_data(int(limit))
        loop = _ItemLoop(processor, EventBuffer(connection.send), Marker(file))
        with suppress(EOFError, BrokenPipeError, ConnectionResetError):
            try:
                while loop.work(connection.recv()):
                    pass
            except PerceptsError as error:
                connection.send([Broken(error)])


if __name__ == "__main__":
    from percepts.jobs.workers import (
        worker,  # import it by its name: classes of __main__ could not be unpickled elsewhere
    )

    worker.main()
