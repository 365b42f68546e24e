"""Orders in, events out, from supervised processes: one that dies or hangs is replaced and its file is marked."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Listener, wait
from typing import IO, Any

from ...errors import MachineError
from ...runtimes.row_pool import SHARE, usable_cores
from ...support.machine import count_fitting_workers, cpu_limit, memory_kills, memory_limit
from ..sources.walk import WorkItem, printable_name
from ..storage.entry import LedgerEntry, Stage
from .worker import MEMORY_LIMIT, Broken, Decoded, Event, EventBuffer, Marker, SourceProcessor, event_size

HANDS = 2
"""Hands of orders a worker holds: the one it is at, and the next, so that it never waits for us."""
HAND = 8
HAND_BYTES = 4 << 20
"""A hand is this many orders, or fewer of larger files: nobody is left alone with all the films. One where a model
takes each source whole."""
BUFFERED_BYTES = 96 << 20
"""Prepared inputs that may wait for the encoder; past that the workers wait."""
DEATHS = 2
"""A file that took down this many workers is marked and left."""
STARTS = 3
"""Workers that may die one after another before they begin with a source; then the run ends."""
SILENCE = 300.0
SILENCE_WHOLE = 3600.0
"""Seconds without a word from a worker that holds an order, while nobody makes it wait, before it is replaced. A task
that takes sources whole may have nothing to say until it has heard all of a long one."""


WAIT = WorkItem(-1, "", 0)
"""An order that is none: more of them may come, but not now."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """A worker died on this order, which is begun anew: forget what came of it so far."""

    key: int


class EventQueue:
    """A queue bounded by bytes, with one end for the crew and one for the encoder."""

    def __init__(self, limit: int = BUFFERED_BYTES):
        self._events: deque[tuple[Sequence[Any], int]] = deque()
        self._bytes = 0
        self._limit = limit
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, events: Sequence[Any], size: int = 0) -> None:
        """Wait for room, then add. One parcel always fits."""
        with self._changed:
            while self._bytes and self._bytes + size > self._limit and not self._closed:
                self._changed.wait()
            self._events.append((events, size))
            self._bytes += size
            self._changed.notify_all()

    def get(self, timeout: float) -> Sequence[Any]:
        """The next parcel; an empty one after `timeout` seconds; EOFError when all is done and nothing is left."""
        with self._changed:
            if not self._events and not self._closed:
                self._changed.wait(timeout)
            if self._events:
                events, size = self._events.popleft()
                self._bytes -= size
                self._changed.notify_all()
                return events
            if self._closed:
                raise EOFError if self._error is None else self._error
            return ()

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more will come (or be awaited)."""
        with self._changed:
            self._closed = True
            self._error = error
            self._changed.notify_all()


class WorkerPool:
    """Carries out orders in `count` processes, or with count 0 in a thread of this one; results are in `buffer`.

    None: one process a core, as far as memory has room for them, or a single one with all cores where it runs the
    model, too.
    """

    def __init__(self, perform: SourceProcessor, orders: Iterator[WorkItem], count: int | None):
        self.buffer = EventQueue()
        if count is None:
            count = 1 if perform.whole else count_fitting_workers(usable_cores())
        self._stop = threading.Event()
        run: Callable[[], None] = (
            _Supervisor(perform, orders, count, self.buffer, self._stop)
            if count
            else (lambda: _run_in_thread(perform, orders, self.buffer, self._stop))
        )
        self._thread = threading.Thread(target=self._run_guarded, args=(run,), name="percepts-crew", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the workers, whatever they are at."""
        self._stop.set()
        self.buffer.close()
        self._thread.join(timeout=10)

    def _run_guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
            self.buffer.close()
        except BaseException as error:
            self.buffer.close(error)


def _run_in_thread(
    perform: SourceProcessor, orders: Iterator[WorkItem], buffer: EventQueue, stop: threading.Event
) -> None:
    outbox = EventBuffer(lambda events: buffer.put(events, sum(map(event_size, events))))
    rehearsed = False
    for order in orders:
        if order is WAIT:
            outbox.flush()
            stop.wait(0.005)
            continue
        if not rehearsed:
            perform.rehearse()
            rehearsed = True
        for event in perform(order):
            outbox.add(event)
            if stop.is_set():
                return
    outbox.flush()


@dataclass(eq=False)
class _WorkerProcess:
    """One process, its connection, and the orders it holds, the one it is at first."""

    process: subprocess.Popen[bytes]
    connection: Connection[Any, Any]
    said: IO[bytes]
    marker: IO[bytes]
    count: int = 0
    heard_of: bool = False
    orders: dict[int, WorkItem] = field(default_factory=dict)
    last_of_hand: deque[int] = field(default_factory=deque)
    heard: float = field(default_factory=time.monotonic)
    silent: float = 0.0

    def send_batch(self, orders: list[WorkItem]) -> None:
        self.orders.update((order.key, order) for order in orders)
        self.last_of_hand.append(orders[-1].key)
        self.connection.send(orders)

    def collect_events(self, key: int) -> None:
        del self.orders[key]
        self.count += 1
        if key == self.last_of_hand[0]:
            self.last_of_hand.popleft()

    def current_source(self) -> WorkItem | None:
        """The order it was at, by its marker; what it finished before and could not tell us of is done again."""
        return self.orders.get(Marker(self.marker).get())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()
        self.said.close()
        self.marker.close()

    def wait(self) -> float:
        """Wait for its end; the seconds of CPU it used, 0.0 where the system does not tell."""
        if self.process.returncode is None and hasattr(os, "wait4"):
            with suppress(ChildProcessError):
                _, status, used = os.wait4(self.process.pid, 0)
                self.process.returncode = os.waitstatus_to_exitcode(status)
                return used.ru_utime + used.ru_stime
        self.process.wait()
        return 0.0

    def exit_reason(self) -> str:
        """How it ended, with the last line it wrote."""
        if self.silent:
            return f"gave no sign for {self.silent:.0f} s"
        return _ending(self.process, self.said)


class _Supervisor:
    """The loop over the crew: hand out orders, pass on what comes, replace who dies."""

    def __init__(
        self,
        perform: SourceProcessor,
        orders: Iterator[WorkItem],
        count: int,
        buffer: EventQueue,
        stop: threading.Event,
    ):
        self._perform, self._orders, self._count = perform, orders, count
        self._buffer, self._stop = buffer, stop
        self._again: deque[WorkItem] = deque()
        self._workers: list[_WorkerProcess] = []
        self._hand = 1 if perform.whole else HAND
        self._awaiting = False
        self._silence = SILENCE_WHOLE if perform.whole else SILENCE
        self._threads = max(1, usable_cores() // count) if perform.whole else 1
        self._memory = memory_limit(count)
        self._stillborn = 0
        self._kills = memory_kills()
        self._starved: set[int] = set()

    def __call__(self) -> None:
        key = secrets.token_bytes(16)
        with Listener(authkey=key) as listener:
            try:
                self._workers = self._start_worker(listener, key, self._count)
                while (self._send_batches() or self._awaiting) and not self._stop.is_set():
                    for worker in self._wait_for_messages():
                        self._receive(worker, listener, key)
            finally:
                for worker in self._workers:
                    worker.end()

    def _start_worker(self, listener: Listener, key: bytes, count: int) -> list[_WorkerProcess]:
        processes = {}
        for _ in range(count):
            process, said, marker = _start_process(listener.address, key, self._threads, self._memory)
            processes[process.pid] = process, said, marker
        hired = []
        try:
            for _ in range(count):
                connection = _accept_connection(listener, [(process, said) for process, said, _ in processes.values()])
                process, said, marker = processes.pop(connection.recv())
                with suppress(OSError):  # it died: heard of as a closed connection
                    connection.send(sys.path)
                    connection.send(self._perform)
                hired.append(_WorkerProcess(process, connection, said, marker))
        except EOFError as error:
            raise MachineError(f"workers do not start: {_endings(processes.values())}") from error
        finally:
            for process, *files in processes.values():
                process.kill()
                process.wait()
                for file in files:
                    file.close()
        return hired

    def _send_batches(self) -> bool:
        """Keep every worker supplied; False when all work is done."""
        for _ in range(HANDS):
            for worker in self._workers:
                if len(worker.last_of_hand) < HANDS and (hand := self._next_batch()):
                    with suppress(OSError):  # it died; the orders are in its list and come back from there
                        worker.send_batch(hand)
        return any(worker.orders for worker in self._workers)

    def _next_batch(self) -> list[WorkItem]:
        """An order that took down a worker travels alone, so that no other has to come back with it."""
        if self._again:
            return [self._again.popleft()]
        hand: list[WorkItem] = []
        while len(hand) < self._hand and sum(max(order.size, 0) for order in hand) < HAND_BYTES:
            order = next(self._orders, None)
            self._awaiting = order is WAIT
            if order is None or order is WAIT:
                break
            hand.append(order)
        return hand

    def _wait_for_messages(self) -> list[_WorkerProcess]:
        by_connection = {worker.connection: worker for worker in self._workers}
        patience = 0.02 if self._awaiting else 0.5
        ready = [by_connection[c] for c in wait(list(by_connection), timeout=patience)]  # type: ignore[index]
        now = time.monotonic()
        for worker in self._workers:
            if not worker.orders or worker in ready:
                worker.heard = now
            elif now - worker.heard > self._silence:
                worker.silent = self._silence
                worker.process.kill()  # heard of again as a closed connection
        return ready

    def _receive(self, worker: _WorkerProcess, listener: Listener, key: bytes) -> None:
        try:
            parcel: list[Event] = worker.connection.recv()
        except (EOFError, OSError):
            self._replace_dead(worker)
            self._workers[self._workers.index(worker)] = self._start_worker(listener, key, 1)[0]
            return
        worker.heard_of, self._stillborn = True, 0
        for event in parcel:
            if isinstance(event, Decoded):
                worker.collect_events(event.key)
            elif isinstance(event, Broken):
                raise event.error
        before = time.monotonic()
        self._buffer.put(parcel, sum(map(event_size, parcel)))
        waited = time.monotonic() - before
        for each in self._workers:  # while we waited for room nobody could be heard
            each.heard += waited

    def _replace_dead(self, worker: _WorkerProcess) -> None:
        """The order it was at is blamed, unless the machine is to blame; the others go back unharmed."""
        used = worker.wait()
        why, culprit = worker.exit_reason(), worker.current_source()
        if culprit is None:
            self._count_stillborn(worker, why)
        elif self._innocent(worker, culprit, used):
            culprit = None
        for order in worker.orders.values():
            self._buffer.put([Restarted(order.key)])
            if order is culprit:
                order = replace(order, attempts=order.attempts + 1)
            if order.attempts < DEATHS:
                self._again.append(order)
            else:
                message = f"the worker that held it {why}, {order.attempts} times"
                self._buffer.put([Decoded(order.key, killed_entry(order.uri, "WorkerDied", message, order.attempts))])
        worker.end()

    def _count_stillborn(self, worker: _WorkerProcess, why: str) -> None:
        """MachineError where one after another dies before it begins with a source: no source is to blame for that."""
        if worker.heard_of:
            return
        self._stillborn += 1
        if self._stillborn >= STARTS:
            raise MachineError(
                f"{self._stillborn} workers, one after another, died before their first file; the last one {why}. "
                "Nothing is wrong with the files; `percepts doctor` looks at this machine"
            )

    def _innocent(self, worker: _WorkerProcess, order: WorkItem, used: float) -> bool:
        """Whether the system ended it at a limit that the order alone did not reach; MachineError where it did."""
        code, limit = worker.process.returncode, cpu_limit()
        if worker.silent or code not in (-signal.SIGKILL, -getattr(signal, "SIGXCPU", signal.SIGKILL)):
            return False
        if limit is not None and used > limit - 2:
            if worker.count:  # files before it used up the most of it
                return True
            raise MachineError(
                f"at {printable_name(order.uri)}: one process may compute for {limit} s here (`ulimit -t`), and this "
                "file needs longer; raise the limit, or leave the file out. No file was marked for this"
            )
        kills, self._kills = self._kills, memory_kills()
        if code != -signal.SIGKILL or kills == self._kills:
            return False
        if order.key in self._starved:
            raise MachineError(
                f"at {printable_name(order.uri)}: the system ended two workers because memory ran out; take fewer "
                "--workers, or give this machine or container more memory. No file was marked for this"
            )
        self._starved.add(order.key)
        return True


def killed_entry(uri: str, error: str, message: str, attempts: int = 1) -> LedgerEntry:
    """The entry of a source that takes down whatever holds it."""
    stage: Stage = "encode" if error == "EncoderHung" else "decode"
    try:
        status = os.stat(uri)
        size, mtime_ns = status.st_size, status.st_mtime_ns
    except OSError:
        size, mtime_ns = 0, 0
    return LedgerEntry("", printable_name(uri), "", size, mtime_ns, "error", stage, error, message, attempts=attempts)


def _start_process(
    address: Any, key: bytes, threads: int, memory: int
) -> tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]:
    """A fresh interpreter, not a fork: it inherits no threads and does not run the user's main module again."""
    said, marker = tempfile.TemporaryFile(), tempfile.NamedTemporaryFile(buffering=0)  # noqa: SIM115  # live as long as the worker
    Marker(marker).set(Marker.NONE)
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", SHARE)}
    ours = {"PERCEPTS_WORKER_KEY": key.hex(), "PYTHONPATH": os.pathsep.join(sys.path), MEMORY_LIMIT: str(memory)}
    command = [sys.executable, "-m", "percepts.jobs.workers.worker", str(address), marker.name]
    process = subprocess.Popen(
        command, env={**os.environ, **limits, **ours}, stdin=subprocess.DEVNULL, stdout=said, stderr=said
    )
    return process, said, marker


def _ending(process: subprocess.Popen[bytes], said: IO[bytes]) -> str:
    """How a process ended, with the last line it wrote."""
    code = process.wait()
    said.seek(0)
    last = said.read().decode(errors="replace").strip().splitlines()[-1:]
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
    return how + (f": {last[0]}" if last else "")


def _endings(processes: Iterable[tuple[Any, ...]]) -> str:
    """How those that have ended did."""
    return "; ".join(sorted({f"one {_ending(process, said)}" for process, said, *_ in processes if _ended(process)}))


def _ended(process: subprocess.Popen[bytes]) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1.0)
    return process.returncode is not None


def _accept_connection(
    listener: Listener, processes: list[tuple[subprocess.Popen[bytes], IO[bytes]]]
) -> Connection[Any, Any]:
    """Wait for one of them to call; an error where one ended before it did."""
    # Listener.accept has no timeout: a closing process cannot call, so wait on it beside the accept.
    caller: list[Connection[Any, Any]] = []
    thread = threading.Thread(target=lambda: caller.append(listener.accept()), daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(timeout=0.2)
        if thread.is_alive() and all(process.poll() is not None for process, _ in processes):
            raise MachineError(
                f"workers do not start: {_endings(processes)}. Nothing is wrong with the files; try --workers 0, and "
                "`percepts doctor`"
            )
    if not caller:
        raise MachineError("a worker could not be reached; try --workers 0")
    return caller[0]
