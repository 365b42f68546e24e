"""Run networks with torch, ONNX Runtime or OpenVINO. `auto` measures which is fastest, and keeps the choice.

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
from ..support.cache import cache_root
from ..types import Inputs
from .kept import make_once, read_record, verified_digest, write_record
from .network import Network, Runner, describe_deviation

__all__ = ["RUNTIMES", "DeferredRunner", "Network", "Runner", "cache_root", "defer_choice", "start_runner"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime that networks can run on.

    Attributes:
        module: name of the module that must be installed.
        extra: name of the extra of percepts that installs it; "" where no extra is needed.
        make: function from a network and a number of threads to a runner.
        measured: whether `auto` may choose it.
    """

    module: str
    extra: str
    make: Callable[[Network, int | None], Runner]
    measured: bool = True

    @property
    def is_installed(self) -> bool:
        """Whether its module is installed. Nothing is imported."""
        return find_spec(self.module) is not None


def _make_onnx_runner(network: Network, threads: int | None) -> Runner:
    # inside the functions: a runtime may not be installed, and is loaded only for its own runners
    from .onnx import OnnxRunner

    path = export_int8_graph(network) if network.precision == "int8" else export_graph(network)
    run = OnnxRunner(path, threads)
    run.graph = verified_digest(path)
    return _check_against_torch("onnx", network, run)


def _make_openvino_runner(network: Network, threads: int | None) -> Runner:
    from .openvino import OpenVinoRunner

    if network.precision != "float32":
        raise ValueError(f"runtime openvino runs float32 only, {network.name} is asked for in {network.precision}")
    path = export_graph(network)
    run = OpenVinoRunner(path, threads)
    run.graph = verified_digest(path)
    return _check_against_torch("openvino", network, run)


def _check_against_torch(name: str, network: Network, run: Runner) -> Runner:
    """Return a runner after comparing it with torch on the example, once for each graph of a Hugging Face model.

    Exporters and compilers can make a graph that runs and is wrong. EncodeError where the outputs differ from torch.
    """
    if network.rows == 1 or network.precision != "float32":  # own networks are tested here, and int8 has its own check
        return run
    graph_file = graph_path(network)
    seen, judged = graph_file.with_suffix(f".{name}.faithful"), {"graph": verified_digest(graph_file)}
    if read_record(seen) == judged:
        return run
    log.info("comparing %s by %s with torch; this happens once", network.name, name)
    if why := describe_deviation(run(network.example), _make_torch_runner(network, 1)(network.example)):
        raise EncodeError(f"{network.name} by {name} {why}: use another runtime, such as torch, which is the reference")
    write_record(seen, judged)
    return run


def _make_torch_runner(network: Network, threads: int | None, *, compile: bool = False) -> Runner:
    from .torch import GPU_ROWS, TorchRunner, choose_device, compile_module

    module = network.build_module()
    if network.precision == "int8":
        from .int8 import quantise_linears

        module = quantise_linears(module)
    where = choose_device(network)
    rows = network.rows if where == "cpu" else max(network.rows, GPU_ROWS)
    return TorchRunner(compile_module(module) if compile else module, rows, where, network.precision, threads)


RUNTIMES: Mapping[str, Runtime] = {
    "onnx": Runtime("onnxruntime", "", _make_onnx_runner),
    "openvino": Runtime("openvino", "openvino", _make_openvino_runner),
    "torch": Runtime("torch", "", _make_torch_runner),
    "compile": Runtime("torch", "", partial(_make_torch_runner, compile=True), measured=False),
}
"""Runtimes by name. `auto` prefers the earlier of two that are about equally fast. `compile` is torch.compile."""
MEASURED_ROWS = 8
"""Rows of the batch that is measured where the size of batches is not known."""
TUNE_AFTER_S = 30.0
"""Seconds that a network works in torch before `auto` tries other runtimes: as long as the export of a graph may take.
Shorter jobs finish sooner without an export, and longer ones lose at most this much."""
MAX_MEASURED_ROWS = 16
"""Most rows of a batch that is measured. Larger batches give the same order."""


def start_runner(
    network: Network,
    runtime: str = "auto",
    threads: int | None = None,
    inputs: Inputs | None = None,
    ready: Mapping[str, Runner] | None = None,
) -> tuple[str, Runner]:
    """Return the name of the runtime and a runner of the network. The first call may export a graph for ten seconds.

    Args:
        network: the network.
        runtime: name of the runtime, or "auto".
        threads: threads to use; None for one per core.
        inputs: batch that `auto` measures on, of the size that will come. None: the network's example, repeated.
        ready: runners that exist already, by runtime.

    Raises:
        ValueError: the runtime is unknown.
        MissingExtra: the runtime is not installed.
        WeightsError: the weights cannot be loaded.
    """
    _check_options(threads)
    if runtime != "auto":
        return runtime, (ready or {}).get(runtime) or _find_runtime(runtime).make(network, threads)
    installed = _list_installed(network)

    def make(name: str) -> Runner:
        return (ready or {}).get(name) or RUNTIMES[name].make(network, threads)

    if len(installed) == 1:
        return installed[0], make(installed[0])
    from .autotune import choose_fastest

    batch = _measuring_batch(network, inputs)
    name, runner = choose_fastest(network, installed, make, _choice_path(network, batch), batch)
    return name, runner or make(name)


def _list_installed(network: Network) -> list[str]:
    """Return the names of the runtimes that `auto` chooses from on this machine."""
    measured = [name for name, row in RUNTIMES.items() if row.measured]
    return [name for name in network.candidates or measured if RUNTIMES[name].is_installed]


def _predict_runtime(network: Network) -> str:
    """Return the runtime that `auto` will most likely choose: the choice kept for full batches, or the first."""
    from .autotune import read_choice

    batch = {name: np.repeat(value, MAX_MEASURED_ROWS, axis=0) for name, value in network.example.items()}
    kept, installed = read_choice(_choice_path(network, _measuring_batch(network, batch))), _list_installed(network)
    return kept if kept in installed else installed[0]


# a ContextVar and not a global, because other threads go on choosing
_is_choice_deferred: ContextVar[bool] = ContextVar("_rehearsing", default=False)


@contextmanager
def defer_choice() -> Iterator[None]:
    """Let networks load and run inside this context without choosing the runtime of `auto`; a real batch chooses it.

    A runner that is made here is used again if its runtime is chosen.
    """
    token = _is_choice_deferred.set(True)
    try:
        yield
    finally:
        _is_choice_deferred.reset(token)


def _choice_path(network: Network, batch: Inputs) -> Path:
    """Return the path of the file with the chosen runtime for batches of this size."""
    count = len(next(iter(batch.values())))
    return graph_path(network).with_suffix(f".{network.precision}.{count}.runtime.json")


def _measuring_batch(network: Network, inputs: Inputs | None) -> Inputs:
    """Return the batch to measure on. Its size is a power of two, so that few sizes are kept.

    A network that takes one row a call needs only one size.
    """
    if inputs is None or network.rows == 1:
        return {name: np.repeat(value, MEASURED_ROWS, axis=0) for name, value in network.example.items()}
    count = min(len(next(iter(inputs.values()))), MAX_MEASURED_ROWS)
    return {name: value[: 1 << count.bit_length() - 1] for name, value in inputs.items()}


def _check_options(threads: int | None) -> None:
    if threads is not None and threads < 1:
        raise ValueError(f"expected threads >= 1 or None for one per core, got {threads}")


def _find_runtime(runtime: str) -> Runtime:
    if runtime not in RUNTIMES:
        raise ValueError(f"expected a runtime of auto, {', '.join(RUNTIMES)}, got {runtime!r}")
    row = RUNTIMES[runtime]
    if not row.is_installed:
        cure = f"percepts[{row.extra}]" if row.extra else row.module
        raise MissingExtra(f"runtime {runtime} needs {row.module}: pip install '{cure}'")
    return row


def graph_path(network: Network) -> Path:
    """Return the path of a network's graph in the cache. It depends on the key and on the versions of the exporters."""
    # another version of an exporter makes another graph of the same network
    made_by = "|".join(f"{package}={version(package)}" for package in ("torch", "onnx", "onnxscript"))
    # 64 bits tell the graphs of one cache apart, and names stay short
    digest = hashlib.sha256(f"{network.key}|{made_by}".encode()).hexdigest()[:16]
    return cache_root() / "graphs" / f"{network.name}-{digest}.onnx"


def export_graph(network: Network) -> Path:
    """Return the path of the network's ONNX graph, and export it if it is not in the cache."""
    path = graph_path(network)

    def make(part: Path) -> None:
        begun = time.perf_counter()
        log.info("exporting %s to %s; this happens once", network.name, path)
        from .torch import export_onnx

        export_onnx(network, part)
        log.info("exported %s in %.1f s", network.name, time.perf_counter() - begun)

    return make_once(path, make)


def export_int8_graph(network: Network) -> Path:
    """Return the path of the graph with matrix products in int8, and make it from the float32 one if needed."""
    path = graph_path(network).with_suffix(".int8.onnx")

    def make(part: Path) -> None:
        from .onnx import quantise_graph

        full = export_graph(network)
        log.info("quantising %s to %s; this happens once", network.name, path)
        quantise_graph(full, part)

    return make_once(path, make)


class DeferredRunner:
    """A runner that is made at its first call, once, whichever thread calls first.

    Under `auto`, a network that was not measured yet runs in torch for TUNE_AFTER_S seconds of work; then
    `start_runner` chooses the runtime.
    """

    def __init__(self, network: Callable[[], Network], runtime: str = "auto", threads: int | None = None) -> None:
        # now, because the first call may be hours into a job
        _check_options(threads)
        if runtime != "auto":
            _find_runtime(runtime)
        self._network, self._wanted, self._threads = network, runtime, threads
        self._lock = threading.Lock()
        self._started: tuple[str, Runner] | None = None
        self._untried: Network | None = None
        self._worked_s = 0.0
        self._ready: dict[str, Runner] = {}

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a model cannot be pickled: send its name or its Spec, and call percepts.load in the process that gets it"
        )

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """Run a batch; return one array per output."""
        if _is_choice_deferred.get():
            return self._make_provisional_runner()(inputs)
        run, begun = self._start(inputs)[1], time.perf_counter()
        outputs = run(inputs)
        self._worked_s += time.perf_counter() - begun
        return outputs

    @property
    def runtime(self) -> str:
        """Name of the runtime in use. The runner is made if there is none yet."""
        return self._start()[0]

    @property
    def graph(self) -> str:
        """The sha256 of the ONNX graph in use; "" for torch, which needs none, or before the first call."""
        return str(getattr(self._started[1], "graph", "")) if self._started else ""

    def _make_provisional_runner(self) -> Runner:
        """Return a runner of the network without choosing the one for later batches."""
        with self._lock:
            if self._started is not None:
                return self._started[1]
            if not self._ready:
                network = self._network()
                name = _predict_runtime(network) if self._wanted == "auto" else self._wanted
                self._ready[name] = _find_runtime(name).make(network, self._threads)
            return next(iter(self._ready.values()))

    def _start(self, inputs: Inputs | None = None) -> tuple[str, Runner]:
        with self._lock:
            if self._started is None:
                network = self._network()
                self._untried = network if self._wanted == "auto" and _is_choice_open(network, inputs) else None
                wanted = self._wanted if self._untried is None else "torch"
                self._started = start_runner(network, wanted, self._threads, inputs, self._ready)
                self._ready = {}  # frees the runners that were not chosen
            elif self._untried is not None and inputs is not None and self._worked_s >= TUNE_AFTER_S:
                # the torch runner is passed on, so that it is not built twice
                self._started = start_runner(self._untried, "auto", self._threads, inputs, dict([self._started]))
                self._untried = None
            return self._started


def _is_choice_open(network: Network, inputs: Inputs | None) -> bool:
    """Return whether to begin with torch, because other candidates would need an export first and no choice is kept.

    False for int8: another runtime may be twice as fast there, and the one that passed the accuracy check must run.
    """
    if network.precision != "float32" or network.candidates[:1] != ("torch",) or len(network.candidates) == 1:
        return False
    from .autotune import read_choice

    return read_choice(_choice_path(network, _measuring_batch(network, inputs))) is None
