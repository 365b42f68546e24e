"""A network → a callable. One contract for torch, ONNX Runtime and OpenVINO; `auto` measures and remembers.

run = Deferred(network, "auto")
outputs = run(inputs)          # the first call exports, loads, chooses; later ones only run
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import numpy as np

from ..errors import EncodeError, MissingExtra
from ..types import Inputs
from ._cache import cache_dir
from ._kept import digest_of, made_once, read_record, write_record
from ._network import Network, Runner, disagreement

__all__ = ["RUNTIMES", "Deferred", "Network", "Runner", "cache_dir", "rehearsal", "start"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """module: what must be installed; extra: that of percepts which brings it; make: network and threads to runner.

    measured   whether `auto` may choose it
    """

    module: str
    extra: str
    make: Callable[[Network, int | None], Runner]
    measured: bool = True

    @property
    def installed(self) -> bool:
        """Whether its module is there; nothing is imported."""
        return find_spec(self.module) is not None


def _onnx(network: Network, threads: int | None) -> Runner:
    from .onnx import OnnxRunner

    path = int8_graph(network) if network.precision == "int8" else graph(network)
    run = OnnxRunner(path, threads)
    run.graph = digest_of(path)
    return _faithful("onnx", network, run)


def _openvino(network: Network, threads: int | None) -> Runner:
    from .openvino import OpenVinoRunner

    if network.precision != "float32":
        raise ValueError(f"runtime openvino runs float32 only, {network.name} is asked for in {network.precision}")
    path = graph(network)
    run = OpenVinoRunner(path, threads)
    run.graph = digest_of(path)
    return _faithful("openvino", network, run)


def _faithful(name: str, network: Network, run: Runner) -> Runner:
    """The runner, if it gives what torch gives for the example; asked once a graph, of networks of checkpoints.

    Exporters and compilers err in silence: what they make of a network runs all the same. EncodeError says so.
    """
    if network.rows == 1 or network.precision != "float32":
        return run
    graph_file = graph_path(network)
    seen, judged = graph_file.with_suffix(f".{name}.faithful"), {"graph": digest_of(graph_file)}
    if read_record(seen) == judged:
        return run
    log.info("%s by %s is held against torch; this happens once", network.name, name)
    if why := disagreement(run(network.example), _torch(network, 1)(network.example)):
        raise EncodeError(f"{network.name} by {name} {why}: take another runtime, torch is always right")
    write_record(seen, judged)
    return run


def _torch(network: Network, threads: int | None, *, compile: bool = False) -> Runner:
    from .torch import GPU_ROWS, TorchRunner, compiled, device

    module = network.built()
    if network.precision == "int8":
        from ._int8 import quantised

        module = quantised(module)
    where = device(network)
    rows = network.rows if where == "cpu" else max(network.rows, GPU_ROWS)
    return TorchRunner(compiled(module) if compile else module, rows, where, network.precision, threads)


RUNTIMES: Mapping[str, Runtime] = {
    "onnx": Runtime("onnxruntime", "", _onnx),
    "openvino": Runtime("openvino", "openvino", _openvino),
    "torch": Runtime("torch", "", _torch),
    "compile": Runtime("torch", "", partial(_torch, compile=True), measured=False),
}
"""By name; `auto` prefers the earlier ones where they are about equal. `compile` is torch.compile, if asked for."""
BATCH = 8
"""Items that are measured where it is not known how many will come at a time."""
WORTH = 30.0
"""Seconds of a network's work by torch after which `auto` looks for better: as long as it may take to export a graph.
What is done before that is done sooner without one, and what goes on for longer loses no more than these."""
MOST = 16
"""Items that are measured at most: more at a time changes nothing."""


def start(
    network: Network,
    runtime: str = "auto",
    threads: int | None = None,
    inputs: Inputs | None = None,
    ready: Mapping[str, Runner] | None = None,
) -> tuple[str, Runner]:
    """The name of the runtime and the runner. Exports the graph at first need; may take ten seconds then.

    `auto` measures on `inputs`, a batch of the size that will come, or on the network's example. What is in `ready`, by
    its runtime, is not made again.

    Raises ValueError for an unknown runtime, MissingExtra for one that is not installed, and whatever `network.build`
    raises (WeightsError).
    """
    _check(threads)
    if runtime != "auto":
        return runtime, (ready or {}).get(runtime) or _known(runtime).make(network, threads)
    installed = _installed(network)

    def make(name: str) -> Runner:
        return (ready or {}).get(name) or RUNTIMES[name].make(network, threads)

    if len(installed) == 1:
        return installed[0], make(installed[0])
    from ._choose import choose

    batch = _measurable(network, inputs)
    name, runner = choose(network, installed, make, _choice(network, batch), batch)
    return name, runner or make(name)


def _installed(network: Network) -> list[str]:
    """Return what `auto` chooses between here."""
    measured = [name for name, row in RUNTIMES.items() if row.measured]
    return [name for name in network.candidates or measured if RUNTIMES[name].installed]


def _likely(network: Network) -> str:
    """Return what `auto` will most likely run a network on: what is remembered for full batches, or the first."""
    from ._choose import remembered

    batch = {name: np.repeat(value, MOST, axis=0) for name, value in network.example.items()}
    kept, installed = remembered(_choice(network, _measurable(network, batch))), _installed(network)
    return kept if kept in installed else installed[0]


_rehearsing: ContextVar[bool] = ContextVar("_rehearsing", default=False)


@contextmanager
def rehearsal() -> Iterator[None]:
    """Load and run networks without settling what `auto` runs them on: that is for the first real batch to settle.

    What is loaded here is not loaded again, if that is what is chosen.
    """
    token = _rehearsing.set(True)
    try:
        yield
    finally:
        _rehearsing.reset(token)


def _choice(network: Network, batch: Inputs) -> Path:
    """Where it is kept what runs this network at batches of this size."""
    count = len(next(iter(batch.values())))
    return graph_path(network).with_suffix(f".{network.precision}.{count}.runtime.json")


def _measurable(network: Network, inputs: Inputs | None) -> Inputs:
    """What to measure on: the next lower power of two of what came, so that sizes remembered are few.

    A network that takes a row a call whatever comes has one size.
    """
    if inputs is None or network.rows == 1:
        return {name: np.repeat(value, BATCH, axis=0) for name, value in network.example.items()}
    count = min(len(next(iter(inputs.values()))), MOST)
    return {name: value[: 1 << count.bit_length() - 1] for name, value in inputs.items()}


def _check(threads: int | None) -> None:
    if threads is not None and threads < 1:
        raise ValueError(f"expected threads >= 1 or None for one per core, got {threads}")


def _known(runtime: str) -> Runtime:
    if runtime not in RUNTIMES:
        raise ValueError(f"expected a runtime of auto, {', '.join(RUNTIMES)}, got {runtime!r}")
    row = RUNTIMES[runtime]
    if not row.installed:
        cure = f"percepts[{row.extra}]" if row.extra else row.module
        raise MissingExtra(f"runtime {runtime} needs {row.module}: pip install '{cure}'")
    return row


def graph_path(network: Network) -> Path:
    """Where the graph of this network is kept: by its key and by the versions that wrote it."""
    made_by = "|".join(f"{package}={version(package)}" for package in ("torch", "onnx", "onnxscript"))
    digest = hashlib.sha256(f"{network.key}|{made_by}".encode()).hexdigest()[:16]
    return cache_dir() / "graphs" / f"{network.name}-{digest}.onnx"


def graph(network: Network) -> Path:
    """Return the path of the network's ONNX graph, exported if it is not there, whole, yet."""
    path = graph_path(network)

    def make(part: Path) -> None:
        begun = time.perf_counter()
        log.info("exporting %s to %s; this happens once", network.name, path)
        from .torch import export

        export(network, part)
        log.info("exported %s in %.1f s", network.name, time.perf_counter() - begun)

    return made_once(path, make)


def int8_graph(network: Network) -> Path:
    """Return the path of the graph with its matrix products in int8, made of the float32 one if it is not there yet."""
    path = graph_path(network).with_suffix(".int8.onnx")

    def make(part: Path) -> None:
        from .onnx import quantise

        full = graph(network)
        log.info("quantising %s to %s; this happens once", network.name, path)
        quantise(full, part)

    return made_once(path, make)


class Deferred:
    """A runner made at its first call, once, whichever thread calls first.

    `auto` is torch for a network that was not measured yet, until that has worked for WORTH seconds; then it is what
    `start` chooses.
    """

    def __init__(self, network: Callable[[], Network], runtime: str = "auto", threads: int | None = None) -> None:
        _check(threads)
        if runtime != "auto":
            _known(runtime)
        self._network, self._wanted, self._threads = network, runtime, threads
        self._lock = threading.Lock()
        self._started: tuple[str, Runner] | None = None
        self._untried: Network | None = None
        self._worked = 0.0
        self._ready: dict[str, Runner] = {}

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a model cannot be pickled: send its name or its Spec, and call percepts.load in the process that gets it"
        )

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """A batch in, one array per output."""
        if _rehearsing.get():
            return self._rehearse()(inputs)
        run, begun = self._start(inputs)[1], time.perf_counter()
        outputs = run(inputs)
        self._worked += time.perf_counter() - begun
        return outputs

    @property
    def runtime(self) -> str:
        """The runtime that runs it now; it is started if it was not yet, and nothing is measured in the midst."""
        return self._start()[0]

    @property
    def graph(self) -> str:
        """The sha256 of the ONNX graph that runs now; "" where none does: torch needs none, or nothing ran yet."""
        return str(getattr(self._started[1], "graph", "")) if self._started else ""

    def _rehearse(self) -> Runner:
        """Return a runner of the network; which one the batches to come will have stays open."""
        with self._lock:
            if self._started is not None:
                return self._started[1]
            if not self._ready:
                network = self._network()
                name = _likely(network) if self._wanted == "auto" else self._wanted
                self._ready[name] = _known(name).make(network, self._threads)
            return next(iter(self._ready.values()))

    def _start(self, inputs: Inputs | None = None) -> tuple[str, Runner]:
        with self._lock:
            if self._started is None:
                network = self._network()
                self._untried = network if self._wanted == "auto" and _open(network, inputs) else None
                wanted = self._wanted if self._untried is None else "torch"
                self._started = start(network, wanted, self._threads, inputs, self._ready)
                self._ready = {}
            elif self._untried is not None and inputs is not None and self._worked >= WORTH:
                self._started = start(self._untried, "auto", self._threads, inputs, dict([self._started]))
                self._untried = None
            return self._started


def _open(network: Network, inputs: Inputs | None) -> bool:
    """Whether torch, which comes first, has others beside it whose graph would have to be exported to be tried.

    Not in int8, where the other may be twice as fast and what was judged is what runs.
    """
    if network.precision != "float32" or network.candidates[:1] != ("torch",) or len(network.candidates) == 1:
        return False
    from ._choose import remembered

    return remembered(_choice(network, _measurable(network, inputs))) is None
