"""A network → a callable. One contract for torch, ONNX Runtime and OpenVINO; `auto` measures and remembers.

run = Deferred(network, "auto")
outputs = run(inputs)          # the first call exports, loads, chooses; later ones only run
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..errors import MissingExtra
from ..types import Inputs
from ._cache import atomic, cache_dir, locked
from ._network import Network, Runner

__all__ = ["RUNTIMES", "Deferred", "Network", "Runner", "cache_dir", "start"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """module: what must be installed; extra: that of percepts which brings it; make: network and threads to runner."""

    module: str
    extra: str
    make: Callable[[Network, int | None], Runner]

    @property
    def installed(self) -> bool:
        """Whether its module is there; nothing is imported."""
        return find_spec(self.module) is not None


def _onnx(network: Network, threads: int | None) -> Runner:
    from .onnx import OnnxRunner

    return OnnxRunner(int8_graph(network) if network.precision == "int8" else graph(network), threads)


def _openvino(network: Network, threads: int | None) -> Runner:
    from .openvino import OpenVinoRunner

    if network.precision != "float32":
        raise ValueError(f"runtime openvino runs float32 only, {network.name} is asked for in {network.precision}")
    return OpenVinoRunner(graph(network), threads)


def _torch(network: Network, threads: int | None) -> Runner:
    from .torch import GPU_ROWS, TorchRunner, device

    module = network.build()
    if network.precision == "int8":
        from ._int8 import quantised

        module = quantised(module)
    where = device(network)
    rows = network.rows if where == "cpu" else max(network.rows, GPU_ROWS)
    return TorchRunner(module, rows, where, network.precision, threads)


RUNTIMES: Mapping[str, Runtime] = {
    "onnx": Runtime("onnxruntime", "", _onnx),
    "openvino": Runtime("openvino", "openvino", _openvino),
    "torch": Runtime("torch", "", _torch),
}
"""By name; `auto` prefers the earlier ones where they are about equal."""


def start(network: Network, runtime: str = "auto", threads: int | None = None) -> tuple[str, Runner]:
    """The name of the runtime and the runner. Exports the graph at first need; may take ten seconds then.

    Raises ValueError for an unknown runtime, MissingExtra for one that is not installed, and whatever `network.build`
    raises (WeightsError).
    """
    _check(threads)
    if runtime != "auto":
        return runtime, _known(runtime).make(network, threads)
    from ._choose import choose

    installed = [name for name in network.candidates or RUNTIMES if RUNTIMES[name].installed]
    if len(installed) == 1:
        return installed[0], RUNTIMES[installed[0]].make(network, threads)
    choice = graph_path(network).with_suffix(".runtime.json")
    name, runner = choose(network, installed, lambda name: RUNTIMES[name].make(network, threads), choice)
    return name, runner or RUNTIMES[name].make(network, threads)


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
    """The path of the network's ONNX graph, exported if it is not there yet."""
    path = graph_path(network)
    with locked(path):
        if not path.exists():
            begun = time.perf_counter()
            log.info("exporting %s to %s; this happens once", network.name, path)
            from .torch import export

            with atomic(path) as part:
                export(network, part)
            log.info("exported %s in %.1f s", network.name, time.perf_counter() - begun)
    return path


def int8_graph(network: Network) -> Path:
    """The path of the graph with its matrix products in int8, made of the float32 one if it is not there yet."""
    full = graph(network)
    path = full.with_suffix(".int8.onnx")
    with locked(path):
        if not path.exists():
            from .onnx import quantise

            log.info("quantising %s to %s; this happens once", network.name, path)
            with atomic(path) as part:
                quantise(full, part)
    return path


class Deferred:
    """A runner made at its first call, once, whichever thread calls first."""

    def __init__(self, network: Callable[[], Network], runtime: str = "auto", threads: int | None = None) -> None:
        _check(threads)
        if runtime != "auto":
            _known(runtime)
        self._network, self._wanted, self._threads = network, runtime, threads
        self._lock = threading.Lock()
        self._started: tuple[str, Runner] | None = None

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """A batch in, one array per output."""
        return self._start()[1](inputs)

    @property
    def runtime(self) -> str:
        """The runtime that runs it, chosen now if it was not yet."""
        return self._start()[0]

    def _start(self) -> tuple[str, Runner]:
        with self._lock:
            if self._started is None:
                self._started = start(self._network(), self._wanted, self._threads)
            return self._started
