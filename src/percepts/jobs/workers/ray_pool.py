"""Run the workers and the model of a job in Ray actors, with the same parts and ledger as a run on one machine.

Each actor has a pool of decode workers and the model. It returns its results batch by batch, and the driver commits
them. A driver that is killed can therefore be continued like any run, and if an actor or node dies, only the batches
that it held are processed again. Batches go to actors that have started, so one that waits for room delays nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import Any

from ...errors import JobError, MissingExtra
from ..sources.walk import WorkItem
from .event_queue import EventQueue
from .pool import DEATHS, killed_entry
from .ray_actor import JobActor
from .worker import Completed, SourceProcessor

log = logging.getLogger(__name__)

BATCH_ITEMS = 256
"""Work items sent together: enough to make a message cheap, few enough that no actor waits long for the last."""
BATCH_BYTES = 256 << 20
BATCHES_HELD = 2
"""Batches that an actor holds: the current one and the next."""
START_SECONDS = 900.0
"""Seconds within which at least one actor must start; a cluster that grows needs minutes."""
STARTS = 3
"""The run ends after this many actors in a row failed to start, for each actor that the run wants."""
FRUITLESS = 16
"""The run ends after this many actors in a row died without a result, beside one for each actor that it wants."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Ray cluster on which a job runs.

    address   "local": a Ray that is started on this machine for the run; "auto": the cluster that this machine is part
              of, or "HOST:6379"; "ray://HOST:10001": another cluster, by its client server
    actors    number of actors; None: one for each GPU if there are any, else one for each CPU
    options   of each actor, as Ray's `.options()` takes them: num_cpus, num_gpus, resources, …; more actors than
              there is room for make an autoscaling cluster grow
    """

    address: str = "local"
    actors: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def start_workers(
        self, processor: SourceProcessor, items: Iterator[WorkItem], workers: int | None, batch_size: int
    ) -> RayWorkerPool:
        """Start actors that process `items`; raise MissingExtra without Ray, JobError if no cluster can be joined."""
        return RayWorkerPool(self, processor, items, workers, batch_size)


@dataclass(eq=False)
class _ActorState:
    """A Ray actor, its ready future, and the batches in flight, keyed by the future of their result."""

    handle: Any
    ready: Any
    started: bool = False
    batches: dict[Any, list[WorkItem]] = field(default_factory=dict)


class RayWorkerPool:
    """Processes work items on the actors of a Ray cluster, as `WorkerPool` does here; the events are in `buffer`."""

    def __init__(
        self,
        cluster: Cluster,
        processor: SourceProcessor,
        items: Iterator[WorkItem],
        workers: int | None,
        batch_size: int,
    ):
        self.buffer = EventQueue()
        self._cluster, self._items = cluster, items
        self._arguments = (processor, 1 if workers is None else workers, batch_size)
        self._again: deque[list[WorkItem]] = deque()
        self._stop = threading.Event()
        self._ray, self._owned = _connect(cluster.address)
        self._target = self._count()
        self._unstarted = self._fruitless = 0
        self._until = 0.0
        self._thread = threading.Thread(target=self._run_guarded, name="percepts-ray", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the actors, and leave the Ray cluster if this run started or joined it."""
        self._stop.set()
        self.buffer.close()
        self._thread.join(timeout=30)
        if self._owned:
            self._ray.shutdown()

    def _run_guarded(self) -> None:
        actors: list[_ActorState] = []
        try:
            actors += [self._start_actor() for _ in range(self._target)]
            while self._send_batches(actors) and not self._stop.is_set():
                self._receive(actors)
            self.buffer.close()
        except BaseException as error:
            self.buffer.close(error)
        finally:
            for actor in actors:
                self._ray.kill(actor.handle)

    def _count(self) -> int:
        if self._cluster.actors is not None:
            return self._cluster.actors
        there = self._ray.cluster_resources()
        # A model on a GPU keeps it busy alone, so more actors than GPUs would only wait for each other.
        return max(1, int(there.get("GPU", 0) or there.get("CPU", 1)))

    def _start_actor(self) -> _ActorState:
        self._until = time.monotonic() + START_SECONDS
        actor = self._ray.remote(JobActor).options(**self._actor_options()).remote(*self._arguments)
        return _ActorState(actor, actor.ready.remote())

    def _actor_options(self) -> dict[str, Any]:
        gpus = 1 if self._ray.cluster_resources().get("GPU") else 0
        return {"num_cpus": 1, "num_gpus": gpus} | dict(self._cluster.options)

    def _check_room(self) -> None:
        """Raise JobError if no actor can ever start: at once on this machine, after a while if nodes may join."""
        asked, there = self._actor_options(), self._ray.cluster_resources()
        needs = {"CPU": asked["num_cpus"], "GPU": asked["num_gpus"], **asked.get("resources", {})}
        small = any((amount or 0) > there.get(name, 0) for name, amount in needs.items())
        if time.monotonic() > self._until or (small and self._cluster.address == "local"):
            room = ", ".join(f"{name} {there[name]:g}" for name in sorted(there) if ":" not in name)
            raise JobError(
                f"no actor of Ray could start: each asks for {needs}, and the cluster has {room}; ask for less "
                "(--actors, Cluster(options=…)), or add nodes"
            )

    def _send_batches(self, actors: Sequence[_ActorState]) -> bool:
        """Keep every actor that has started supplied; return False when all work is done."""
        # Round by round, so that no actor gets a second batch while another has none.
        for _ in range(BATCHES_HELD):
            for actor in actors:
                if actor.started and len(actor.batches) < BATCHES_HELD and (batch := self._next_batch()):
                    actor.batches[actor.handle.work.remote(batch)] = batch
        if any(actor.batches for actor in actors):
            return True
        if batch := self._next_batch():  # there is work, and no actor has started yet
            self._again.appendleft(batch)
            self._check_room()
        return bool(batch)

    def _next_batch(self) -> list[WorkItem]:
        if self._again:
            return self._again.popleft()
        batch: list[WorkItem] = []
        room = BATCH_BYTES
        while len(batch) < BATCH_ITEMS and room > 0 and (item := next(self._items, None)):
            batch.append(item)
            room -= max(item.size, 0)
        return batch

    def _receive(self, actors: list[_ActorState]) -> None:
        holder = {reference: actor for actor in actors for reference in actor.batches}
        holder |= {actor.ready: actor for actor in actors if not actor.started}
        # The timeout lets this thread notice that the run was stopped.
        ready, _ = self._ray.wait(list(holder), num_returns=1, timeout=0.5, fetch_local=True)
        for reference in ready:
            actor = holder[reference]
            try:
                events = self._ray.get(reference)
            except (self._ray.exceptions.RayActorError, self._ray.exceptions.ObjectLostError) as error:
                self._replace_dead(actor, error)
                actors[actors.index(actor)] = self._start_actor()
            except (
                self._ray.exceptions.RayTaskError
            ) as error:  # a fault of the model or the machine, which ends the run
                raise error.cause from error
            else:
                self._take(actor, reference, events)

    def _take(self, actor: _ActorState, reference: Any, events: Any) -> None:
        if reference == actor.ready:  # Ray's client returns an equal reference, not the same object
            actor.started, self._unstarted = True, 0
            return
        del actor.batches[reference]
        self._fruitless = 0
        self.buffer.add(events, sum(r.nbytes for e in events if isinstance(e, Completed) for r in e.records))

    def _replace_dead(self, dead: _ActorState, error: Exception) -> None:
        """Take back the batches of a dead actor, the current one as single items, so that a deadly item is alone."""
        self._ray.kill(dead.handle)  # an actor that cannot be reached may still be alive
        why = _error_summary(error)
        log.warning("an actor died and is replaced: %s", why)
        self._count_deaths(dead, why)
        for number, batch in enumerate(dead.batches.values()):
            if number:
                self._again.append(batch)
                continue
            for item in batch:
                tried = replace(item, attempts=item.attempts + 1) if len(batch) == 1 else item
                # Attempts count only for items that were alone in a batch, since only then they are surely to blame.
                if tried.attempts < DEATHS:
                    self._again.append([tried])
                else:
                    message = f"the actor that held it died, {tried.attempts} times: {why}"
                    self.buffer.add(
                        [Completed(item.key, killed_entry(item.uri, "WorkerDied", message, tried.attempts))]
                    )

    def _count_deaths(self, dead: _ActorState, why: str) -> None:
        """Count a dead actor; raise JobError if replacing actors leads nowhere."""
        self._unstarted += not dead.started
        self._fruitless += dead.started
        if self._unstarted > STARTS * self._target:
            raise JobError(f"actors of Ray do not start, {self._unstarted} tries one after another: {why}")
        if self._fruitless > FRUITLESS + self._target:
            raise JobError(f"actors of Ray die, {self._fruitless} one after another that finished nothing: {why}")


def _error_summary(error: Exception) -> str:
    """Return the first line of an error of Ray, and the last, which names the exception of a constructor."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return shorten(lines[0] if len(lines) == 1 else f"{lines[0][:120]} … {lines[-1]}", 300, placeholder=" …")


def _connect(address: str) -> tuple[Any, bool]:
    """Return Ray, and whether this call started or joined it; raise JobError if it cannot be reached."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("--cluster needs Ray: pip install 'percepts[ray]'") from error
    # A Ray that the user started stays connected after the run.
    if ray.is_initialized():
        return ray, False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address == "local":  # its processes start here, so they can import what this one imports
        quiet["runtime_env"] = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
        quiet["include_dashboard"] = False
    try:
        _check_reachable(address)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its warning repeats the error
            ray.init(address, **quiet)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        why = shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")
        raise JobError(f"no Ray could be joined at {address!r} ({why}); {_CURES}") from error
    return ray, True


def _check_reachable(address: str) -> None:
    """Raise OSError if nothing listens at an address, since Ray itself would retry for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


_CURES = (
    "expected local, auto, HOST:6379, or ray://HOST:10001 of a head with `--ray-client-server-port 10001`. Where the "
    "cluster asks for a token, set RAY_AUTH_MODE=token here, too"
)
