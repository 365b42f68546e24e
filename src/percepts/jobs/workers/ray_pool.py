"""Orders to actors of Ray, finished sources back: the same workers, the same batches, the same parts and ledger.

Each actor holds a crew of decode workers and the model; what it has finished comes back whole, hand by hand, and the
driver commits it. So a driver that is killed resumes like any run, and of an actor or node that dies only the hands it
held are done again. Hands go to actors that have started, so that one which waits for room holds up nothing.
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
from .pool import DEATHS, EventQueue, killed_entry
from .ray_actor import JobActor
from .worker import Completed, SourceProcessor

log = logging.getLogger(__name__)

HAND = 256
"""Orders that travel together: enough that a message is cheap, few enough that nobody waits long for the last."""
HAND_BYTES = 256 << 20
AHEAD = 2
"""Hands an actor holds: the one it is at, and the next."""
PATIENCE = 900.0
"""Seconds in which one actor at least must have started; a cluster that grows needs minutes."""
STARTS = 3
"""Actors that may fail to start, one after another, for each that there is to be; then the run ends."""
FRUITLESS = 16
"""Actors that may die at work, one after another, before any finishes something, beside one for each; then it ends."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a job runs that does not run here.

    address   "local": a Ray of this machine's own, for the length of the run; "auto": the one that this machine is
              part of, or "HOST:6379"; "ray://HOST:10001": another, whose client server answers there
    actors    how many; None: one a GPU where there are any, else one a CPU
    options   of each actor, as Ray's `.options()` takes them: num_cpus, num_gpus, resources, …; more actors than
              there is room for make an autoscaling cluster grow
    """

    address: str = "local"
    actors: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def start_workers(
        self, perform: SourceProcessor, orders: Iterator[WorkItem], workers: int | None, batch_size: int
    ) -> RayWorkerPool:
        """The actors at work on `orders`; MissingExtra without Ray, JobError where it cannot be joined."""
        return RayWorkerPool(self, perform, orders, workers, batch_size)


@dataclass(eq=False)
class _ActorState:
    """An actor, the reference of its word that it has started, and its hands by those of their results."""

    actor: Any
    starting: Any
    started: bool = False
    hands: dict[Any, list[WorkItem]] = field(default_factory=dict)


class RayWorkerPool:
    """What `Crew` is on one machine; results are in `buffer`."""

    def __init__(
        self,
        cluster: Cluster,
        perform: SourceProcessor,
        orders: Iterator[WorkItem],
        workers: int | None,
        batch_size: int,
    ):
        self.buffer = EventQueue()
        self._cluster, self._orders = cluster, orders
        self._make = (perform, 1 if workers is None else workers, batch_size)
        self._again: deque[list[WorkItem]] = deque()
        self._stop = threading.Event()
        self._ray, self._ours = _connect(cluster.address)
        self._wanted = self._count()
        self._unstarted = self._fruitless = 0
        self._until = 0.0
        self._thread = threading.Thread(target=self._run_guarded, name="percepts-ray", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the actors, and leave the Ray that was started or joined for this run."""
        self._stop.set()
        self.buffer.close()
        self._thread.join(timeout=30)
        if self._ours:
            self._ray.shutdown()

    def _run_guarded(self) -> None:
        held: list[_ActorState] = []
        try:
            held += [self._start_actor() for _ in range(self._wanted)]
            while self._send_batches(held) and not self._stop.is_set():
                self._receive(held)
            self.buffer.close()
        except BaseException as error:
            self.buffer.close(error)
        finally:
            for each in held:
                self._ray.kill(each.actor)

    def _count(self) -> int:
        if self._cluster.actors is not None:
            return self._cluster.actors
        there = self._ray.cluster_resources()
        return max(1, int(there.get("GPU", 0) or there.get("CPU", 1)))

    def _start_actor(self) -> _ActorState:
        self._until = time.monotonic() + PATIENCE
        actor = self._ray.remote(JobActor).options(**self._wait_for_results()).remote(*self._make)
        return _ActorState(actor, actor.ready.remote())

    def _wait_for_results(self) -> dict[str, Any]:
        gpus = 1 if self._ray.cluster_resources().get("GPU") else 0
        return {"num_cpus": 1, "num_gpus": gpus} | dict(self._cluster.options)

    def _check_room(self) -> None:
        """JobError where no actor will ever start: at once on this machine alone, after a while where more may join."""
        asked, there = self._wait_for_results(), self._ray.cluster_resources()
        needs = {"CPU": asked["num_cpus"], "GPU": asked["num_gpus"], **asked.get("resources", {})}
        small = any((amount or 0) > there.get(name, 0) for name, amount in needs.items())
        if time.monotonic() > self._until or (small and self._cluster.address == "local"):
            room = ", ".join(f"{name} {there[name]:g}" for name in sorted(there) if ":" not in name)
            raise JobError(
                f"no actor of Ray could start: each asks for {needs}, and the cluster has {room}; ask for less "
                "(--actors, Cluster(options=…)), or add nodes"
            )

    def _send_batches(self, held: Sequence[_ActorState]) -> bool:
        """Keep every actor that has started supplied; False when all work is done."""
        for _ in range(AHEAD):
            for each in held:
                if each.started and len(each.hands) < AHEAD and (hand := self._next_batch()):
                    each.hands[each.actor.work.remote(hand)] = hand
        if any(each.hands for each in held):
            return True
        if hand := self._next_batch():  # there is work, and nobody has started yet
            self._again.appendleft(hand)
            self._check_room()
        return bool(hand)

    def _next_batch(self) -> list[WorkItem]:
        if self._again:
            return self._again.popleft()
        hand: list[WorkItem] = []
        room = HAND_BYTES
        while len(hand) < HAND and room > 0 and (order := next(self._orders, None)):
            hand.append(order)
            room -= max(order.size, 0)
        return hand

    def _receive(self, held: list[_ActorState]) -> None:
        holder = {reference: each for each in held for reference in each.hands}
        holder |= {each.starting: each for each in held if not each.started}
        ready, _ = self._ray.wait(list(holder), num_returns=1, timeout=0.5, fetch_local=True)
        for reference in ready:
            each = holder[reference]
            try:
                said = self._ray.get(reference)
            except (self._ray.exceptions.RayActorError, self._ray.exceptions.ObjectLostError) as error:
                self._replace_dead(each, error)
                held[held.index(each)] = self._start_actor()
            except self._ray.exceptions.RayTaskError as error:  # no item's fault: a model that cannot be had
                raise error.cause from error
            else:
                self._take(each, reference, said)

    def _take(self, each: _ActorState, reference: Any, said: Any) -> None:
        if reference == each.starting:  # equal, not the same: Ray's client makes them anew
            each.started, self._unstarted = True, 0
            return
        del each.hands[reference]
        self._fruitless = 0
        self.buffer.put(said, sum(r.nbytes for e in said if isinstance(e, Completed) for r in e.records))

    def _replace_dead(self, dead: _ActorState, error: Exception) -> None:
        """What it held goes back: the hand it was at in single orders, so that one that kills actors stands alone."""
        self._ray.kill(dead.actor)  # what cannot be reached may yet be alive
        why = _error_summary(error)
        log.warning("an actor died and is replaced: %s", why)
        self._count_deaths(dead, why)
        for number, hand in enumerate(dead.hands.values()):
            if number:
                self._again.append(hand)
                continue
            for order in hand:
                tried = replace(order, attempts=order.attempts + 1) if len(hand) == 1 else order
                if tried.attempts < DEATHS:
                    self._again.append([tried])
                else:
                    message = f"the actor that held it died, {tried.attempts} times: {why}"
                    self.buffer.put(
                        [Completed(order.key, killed_entry(order.uri, "WorkerDied", message, tried.attempts))]
                    )

    def _count_deaths(self, dead: _ActorState, why: str) -> None:
        """JobError where replacing them leads nowhere."""
        self._unstarted += not dead.started
        self._fruitless += dead.started
        if self._unstarted > STARTS * self._wanted:
            raise JobError(f"actors of Ray do not start, {self._unstarted} tries one after another: {why}")
        if self._fruitless > FRUITLESS + self._wanted:
            raise JobError(f"actors of Ray die, {self._fruitless} one after another that finished nothing: {why}")


def _error_summary(error: Exception) -> str:
    """The first line of what Ray says, and the last, where the exception of a constructor stands."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return shorten(lines[0] if len(lines) == 1 else f"{lines[0][:120]} … {lines[-1]}", 300, placeholder=" …")


def _connect(address: str) -> tuple[Any, bool]:
    """Ray, and whether this call has started or joined it; JobError where it cannot be reached."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("--cluster needs Ray: pip install 'percepts[ray]'") from error
    if ray.is_initialized():
        return ray, False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address == "local":  # its processes are ours: they import what we import
        quiet["runtime_env"] = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
        quiet["include_dashboard"] = False
    try:
        _check_reachable(address)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # says what the error says
            ray.init(address, **quiet)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        why = shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")
        raise JobError(f"no Ray could be joined at {address!r} ({why}); {_CURES}") from error
    return ray, True


def _check_reachable(address: str) -> None:
    """OSError where nothing listens: Ray itself would ask for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


_CURES = (
    "expected local, auto, HOST:6379, or ray://HOST:10001 of a head with `--ray-client-server-port 10001`. Where the "
    "cluster asks for a token, set RAY_AUTH_MODE=token here, too"
)
