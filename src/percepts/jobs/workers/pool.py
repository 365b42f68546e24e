"""Supervise worker processes: replace one that dies or hangs, and mark the file that it was at."""

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
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Listener, wait
from typing import IO, Any

from ...errors import MachineError
from ...runtimes.row_pool import SHARE, usable_cores
from ...support.machine import count_fitting_workers, cpu_limit, memory_kills, memory_limit
from ..sources.walk import WorkItem, printable_name
from ..storage.entry import LedgerEntry, Stage
from .event_queue import EventQueue, Restarted
from .worker import MEMORY_LIMIT, Broken, Decoded, Event, EventBuffer, Marker, SourceProcessor, event_size

BATCHES_HELD = 2
"""Batches that a worker holds: the current one and the next, so that it never waits for the supervisor."""
BATCH_ITEMS = 8
BATCH_BYTES = 4 << 20
"""A batch holds this many work items, or fewer of larger files, so that no worker gets all the videos. A task that
works source by source has one item in each batch."""
DEATHS = 2
"""A file at which this many workers died is marked as an error."""
STARTS = 3
"""The run ends after this many workers in a row died before their first source."""
SILENCE = 300.0
SILENCE_PER_SOURCE = 3600.0
"""Replace a busy worker that has sent nothing for this many seconds, time that it had to wait for room excluded. A task
that works source by source may send nothing until the end of a long recording."""


WAIT = WorkItem(-1, "", 0)
"""A placeholder for a work item: more of them may come later, but not now."""


class WorkerPool:
    """Processes work items in `count` processes, or with 0 in a thread of this one; the events are in `buffer`.

    None: one process for each core, as far as the memory suffices, or a single process with all cores if it also runs
    the model.
    """

    def __init__(self, processor: SourceProcessor, items: Iterator[WorkItem], count: int | None):
        self.buffer = EventQueue()
        if count is None:
            count = 1 if processor.runs_model else count_fitting_workers(usable_cores())
        self._stop = threading.Event()
        run: Callable[[], None] = (
            _Supervisor(processor, items, count, self.buffer, self._stop)
            if count
            else (lambda: _run_in_thread(processor, items, self.buffer, self._stop))
        )
        self._thread = threading.Thread(target=self._run_guarded, args=(run,), name="percepts-workers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the workers at once."""
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
    processor: SourceProcessor, items: Iterator[WorkItem], buffer: EventQueue, stop: threading.Event
) -> None:
    buffered = EventBuffer(lambda events: buffer.add(events, sum(map(event_size, events))))
    rehearsed = False
    for item in items:
        if item is WAIT:
            buffered.flush()
            stop.wait(0.005)
            continue
        if not rehearsed:
            processor.rehearse()
            rehearsed = True
        for event in processor(item):
            buffered.add(event)
            if stop.is_set():
                return
    buffered.flush()


@dataclass(eq=False)
class _WorkerProcess:
    """A worker process, its connection, and the work items that it holds, the current one first."""

    process: subprocess.Popen[bytes]
    connection: Connection[Any, Any]
    output: IO[bytes]
    marker: IO[bytes]
    count: int = 0
    has_reported: bool = False
    items: dict[int, WorkItem] = field(default_factory=dict)
    last_of_batch: deque[int] = field(default_factory=deque)
    last_heard: float = field(default_factory=time.monotonic)
    silent: float = 0.0

    def send_batch(self, items: list[WorkItem]) -> None:
        self.items.update((item.key, item) for item in items)
        self.last_of_batch.append(items[-1].key)
        self.connection.send(items)

    def collect_events(self, key: int) -> None:
        del self.items[key]
        self.count += 1
        if key == self.last_of_batch[0]:
            self.last_of_batch.popleft()

    def current_source(self) -> WorkItem | None:
        """Return the item that its marker names. Items that it finished but could not report are processed again."""
        return self.items.get(Marker(self.marker).get())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()
        self.output.close()
        self.marker.close()

    def wait(self) -> float:
        """Wait for its end; return the CPU seconds it used, 0.0 if the system does not say."""
        if self.process.returncode is None and hasattr(os, "wait4"):
            with suppress(ChildProcessError):
                _, status, used = os.wait4(self.process.pid, 0)
                self.process.returncode = os.waitstatus_to_exitcode(status)
                return used.ru_utime + used.ru_stime
        self.process.wait()
        return 0.0

    def exit_reason(self) -> str:
        """Say how it ended, with the last line it wrote."""
        if self.silent:
            return f"gave no sign for {self.silent:.0f} s"
        return _describe_ending(self.process, self.output)


class _Supervisor:
    """The loop over the workers: sends them work items, passes on their events, replaces those that die."""

    def __init__(
        self,
        processor: SourceProcessor,
        items: Iterator[WorkItem],
        count: int,
        buffer: EventQueue,
        stop: threading.Event,
    ):
        self._processor, self._items, self._count = processor, items, count
        self._buffer, self._stop = buffer, stop
        self._again: deque[WorkItem] = deque()
        self._workers: list[_WorkerProcess] = []
        self._batch_items = 1 if processor.runs_model else BATCH_ITEMS
        self._items_may_come = False
        self._silence = SILENCE_PER_SOURCE if processor.runs_model else SILENCE
        # A model uses all cores of its share; a decoder gains nothing from threads, since all workers are busy.
        self._threads = max(1, usable_cores() // count) if processor.runs_model else 1
        self._memory = memory_limit(count)
        self._early_deaths = 0
        self._kills = memory_kills()
        self._starved: set[int] = set()

    def __call__(self) -> None:
        # Only processes that were given this key may connect.
        key = secrets.token_bytes(16)
        with Listener(authkey=key) as listener:
            try:
                self._workers = self._start_workers(listener, key, self._count)
                while (self._send_batches() or self._items_may_come) and not self._stop.is_set():
                    for worker in self._wait_for_messages():
                        self._receive(worker, listener, key)
            finally:
                for worker in self._workers:
                    worker.end()

    def _start_workers(self, listener: Listener, key: bytes, count: int) -> list[_WorkerProcess]:
        processes = {}
        for _ in range(count):
            process, output, marker = _start_process(listener.address, key, self._threads, self._memory)
            processes[process.pid] = process, output, marker
        started = []
        try:
            for _ in range(count):
                connection = _accept_connection(
                    listener, [(process, output) for process, output, _ in processes.values()]
                )
                process, output, marker = processes.pop(connection.recv())
                with suppress(OSError):  # it died, which shows as a closed connection
                    # A worker must find whatever the task needs, such as modules beside the user's script.
                    connection.send(sys.path)
                    connection.send(self._processor)
                started.append(_WorkerProcess(process, connection, output, marker))
        except EOFError as error:
            raise MachineError(f"workers do not start: {_describe_endings(processes.values())}") from error
        finally:
            # Those that never connected; nobody else would end them.
            for process, *files in processes.values():
                process.kill()
                process.wait()
                for file in files:
                    file.close()
        return started

    def _send_batches(self) -> bool:
        """Keep every worker supplied; return False when all work is done."""
        for _ in range(BATCHES_HELD):
            for worker in self._workers:
                if len(worker.last_of_batch) < BATCHES_HELD and (batch := self._next_batch()):
                    with suppress(OSError):  # it died; the items are in its list and are taken back from there
                        worker.send_batch(batch)
        # Items in flight may come back from a worker that dies, so the work is not done before they are.
        return any(worker.items for worker in self._workers)

    def _next_batch(self) -> list[WorkItem]:
        """Return the next work items for a worker; none if no more come, or not now."""
        if self._again:  # alone, since it may kill the next worker, too, and no other item should suffer for that
            return [self._again.popleft()]
        batch: list[WorkItem] = []
        while len(batch) < self._batch_items and sum(max(item.size, 0) for item in batch) < BATCH_BYTES:
            item = next(self._items, None)
            self._items_may_come = item is WAIT
            if item is None or item is WAIT:
                break
            batch.append(item)
        return batch

    def _wait_for_messages(self) -> list[_WorkerProcess]:
        by_connection = {worker.connection: worker for worker in self._workers}
        # While more items may come at any time, workers must not wait half a second for them.
        patience = 0.02 if self._items_may_come else 0.5
        ready = [by_connection[c] for c in wait(list(by_connection), timeout=patience)]  # type: ignore[index]
        now = time.monotonic()
        for worker in self._workers:
            if not worker.items or worker in ready:
                worker.last_heard = now
            elif now - worker.last_heard > self._silence:
                worker.silent = self._silence
                worker.process.kill()  # which shows as a closed connection
        return ready

    def _receive(self, worker: _WorkerProcess, listener: Listener, key: bytes) -> None:
        try:
            events: list[Event] = worker.connection.recv()
        except (EOFError, OSError):
            self._replace_dead(worker)
            self._workers[self._workers.index(worker)] = self._start_workers(listener, key, 1)[0]
            return
        worker.has_reported, self._early_deaths = True, 0
        for event in events:
            if isinstance(event, Decoded):
                worker.collect_events(event.key)
            elif isinstance(event, Broken):
                raise event.error
        before = time.monotonic()
        self._buffer.add(events, sum(map(event_size, events)))
        waited = time.monotonic() - before
        for each in self._workers:  # while this thread waited for room, it could receive nothing
            each.last_heard += waited

    def _replace_dead(self, worker: _WorkerProcess) -> None:
        """Take back the items of a dead worker; blame the current one, unless the machine is to blame."""
        used = worker.wait()
        why, current = worker.exit_reason(), worker.current_source()
        if current is None:
            self._count_early_deaths(worker, why)
        elif self._is_machine_fault(worker, current, used):
            current = None
        for item in worker.items.values():
            self._buffer.add([Restarted(item.key)])
            if item is current:
                item = replace(item, attempts=item.attempts + 1)
            if item.attempts < DEATHS:
                self._again.append(item)
            else:
                message = f"the worker that held it {why}, {item.attempts} times"
                self._buffer.add([Decoded(item.key, killed_entry(item.uri, "WorkerDied", message, item.attempts))])
        worker.end()

    def _count_early_deaths(self, worker: _WorkerProcess, why: str) -> None:
        """Count a worker that died before its first source; raise MachineError after STARTS in a row."""
        # It has worked before, so its start is not the problem.
        if worker.has_reported:
            return
        self._early_deaths += 1
        if self._early_deaths >= STARTS:
            raise MachineError(
                f"{self._early_deaths} workers, one after another, died before their first file; the last one {why}. "
                "Nothing is wrong with the files; `percepts doctor` looks at this machine"
            )

    def _is_machine_fault(self, worker: _WorkerProcess, item: WorkItem, used: float) -> bool:
        """Return whether the machine and not the current item is to blame; raise MachineError if no item can pass."""
        code, limit = worker.process.returncode, cpu_limit()
        if worker.silent or code not in (-signal.SIGKILL, -getattr(signal, "SIGXCPU", signal.SIGKILL)):
            return False
        if limit is not None and used > limit - 2:
            if worker.count:  # earlier files used up most of the limit
                return True
            raise MachineError(
                f"at {printable_name(item.uri)}: one process may compute for {limit} s here (`ulimit -t`), and this "
                "file needs longer; raise the limit, or leave the file out. No file was marked for this"
            )
        # SIGKILL alone proves nothing, but the kernel counts the processes that it ends for lack of memory.
        kills, self._kills = self._kills, memory_kills()
        if code != -signal.SIGKILL or kills == self._kills:
            return False
        # The first time, other processes may have used the memory, so the item gets a second chance.
        if item.key in self._starved:
            raise MachineError(
                f"at {printable_name(item.uri)}: the system ended two workers because memory ran out; use fewer "
                "--workers, or give this machine or container more memory. No file was marked for this"
            )
        self._starved.add(item.key)
        return True


def killed_entry(uri: str, error: str, message: str, attempts: int = 1) -> LedgerEntry:
    """Return the entry of a source that kills or hangs the process that works on it."""
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
    """Start a worker process; return it with its output and its marker file."""
    output, marker = tempfile.TemporaryFile(), tempfile.NamedTemporaryFile(buffering=0)  # noqa: SIM115  # live as long as the worker
    Marker(marker).set(Marker.NONE)
    # Libraries read these when they are imported; without them each worker would use all cores.
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", SHARE)}
    ours = {"PERCEPTS_WORKER_KEY": key.hex(), "PYTHONPATH": os.pathsep.join(sys.path), MEMORY_LIMIT: str(memory)}
    # A fresh interpreter, not a fork: it inherits no threads and does not run the user's main module again.
    command = [sys.executable, "-m", "percepts.jobs.workers.worker", str(address), marker.name]
    process = subprocess.Popen(
        command, env={**os.environ, **limits, **ours}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    )
    return process, output, marker


def _describe_ending(process: subprocess.Popen[bytes], output: IO[bytes]) -> str:
    """Say how a process ended, with the last line it wrote."""
    code = process.wait()
    output.seek(0)
    last = output.read().decode(errors="replace").strip().splitlines()[-1:]
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
    return how + (f": {last[0]}" if last else "")


def _describe_endings(processes: Iterable[tuple[Any, ...]]) -> str:
    """Say how the processes that have ended did so."""
    endings = {_describe_ending(process, output) for process, output, *_ in processes if _has_ended(process)}
    return "; ".join(f"one {ending}" for ending in sorted(endings))


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1.0)
    return process.returncode is not None


def _accept_connection(
    listener: Listener, processes: list[tuple[subprocess.Popen[bytes], IO[bytes]]]
) -> Connection[Any, Any]:
    """Wait for one of the processes to connect; raise MachineError if all ended before."""
    # Listener.accept has no timeout: a closing process cannot call, so wait on it beside the accept.
    caller: list[Connection[Any, Any]] = []
    thread = threading.Thread(target=lambda: caller.append(listener.accept()), daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(timeout=0.2)
        if thread.is_alive() and all(process.poll() is not None for process, _ in processes):
            raise MachineError(
                f"workers do not start: {_describe_endings(processes)}. Nothing is wrong with the files; try "
                "--workers 0, and `percepts doctor`"
            )
    if not caller:
        raise MachineError("a worker could not be reached; try --workers 0")
    return caller[0]
