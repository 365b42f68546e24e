"""Run OpenL3's networks on the best runtime that is installed, from spectrograms or images to grids."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ...errors import MissingExtra
from ...runtimes.kept import make_once
from ...runtimes.network import Runner
from ...support.cache import cache_root
from ...support.files import write_file
from .plan import CHANNELS, OpenL3Weights, Step, build_steps, digest, fold_steps, last_pool_size

GridFunction = Callable[[np.ndarray], np.ndarray]
"""(B, C, H, W) float32 to (B, rows x columns, 512) float32, the grid row by row."""

InputShape = tuple[int, int]
_Make = Callable[["_Net", "int | None"], Runner]


@dataclass(frozen=True, slots=True)
class _Net:
    """Steps of a network, the shape (C, H, W) they are for, None where it may vary, and a name for both."""

    plan: Sequence[Step]
    shape: tuple[int, int, int | None]
    name: str


def _make_ncnn(net: _Net, threads: int | None) -> Runner:
    from ...runtimes.ncnn import NcnnRunner
    from .ncnn_graph import build_files

    return NcnnRunner(*build_files(net.plan, net.shape[1]), output="grid", threads=threads)


def _make_onnx(net: _Net, threads: int | None) -> Runner:
    from ...runtimes.onnx import OnnxRunner

    return OnnxRunner(_write_graph(net), threads)


def _make_openvino(net: _Net, threads: int | None) -> Runner:
    from ...runtimes.openvino import OpenVinoRunner

    return OpenVinoRunner(_write_graph(net), threads)


def _make_torch(net: _Net, threads: int | None, half: bool = False) -> Runner:
    from .torch_module import TorchGrid

    return TorchGrid(net.plan, half=half)


def _write_graph(net: _Net) -> Path:
    """Return the path of the ONNX graph, which is written at first need."""
    from .onnx_graph import build_model

    path = cache_root() / "graphs" / f"openl3-{net.name}.onnx"
    return make_once(path, lambda part: write_file(part, build_model(net.plan, net.shape).SerializeToString()))


RUNTIMES: Mapping[str, tuple[str, str, _Make]] = {
    "ncnn": ("ncnn", "percepts[ncnn]", _make_ncnn),
    "onnx": ("onnxruntime", "onnxruntime", _make_onnx),
    "openvino": ("openvino", "percepts[openvino]", _make_openvino),
    "torch": ("torch", "torch", _make_torch),
    "torch-bf16": ("torch", "torch", partial(_make_torch, half=True)),
}
"""Name → the module it needs, what to pip install, how to make it. Fastest first, by bench/openl3.py."""


def choose_runtime(runtime: str = "auto") -> str:
    """Return the name of the runtime: the one that is named, or the fastest that is installed.

    All are measured against one another in bench/openl3.py; their order is the same on every CPU seen. A GPU goes
    through torch, where one is there. Raises ValueError for an unknown name, MissingExtra for one not installed.
    """
    if runtime == "auto":
        return "torch" if _has_gpu() else next(name for name, (module, *_) in RUNTIMES.items() if find_spec(module))
    if runtime not in RUNTIMES:
        raise ValueError(f"expected a runtime of auto, {', '.join(RUNTIMES)}, got {runtime!r}")
    module, cure, _ = RUNTIMES[runtime]
    if not find_spec(module):
        raise MissingExtra(f"runtime {runtime} needs {module}: pip install '{cure}'")
    return runtime


def _has_gpu() -> bool:
    """Return whether torch sees a GPU; without a driver torch is not imported, which takes a second."""
    # The two of nvidia are NVIDIA's driver, /dev/kfd is AMD's.
    if not any(map(Path.exists, map(Path, ("/dev/nvidiactl", "/dev/kfd", "/proc/driver/nvidia")))):
        return False
    import torch

    return torch.cuda.is_available()


def build_grid(
    weights: OpenL3Weights, shape: InputShape, runtime: str = "auto", threads: int | None = None
) -> GridFunction:
    """Return the network for inputs of `shape`. A row comes out bit-identical whatever batch it is in."""
    plan = fold_steps(build_steps(weights, last_pool_size(weights.modality, shape)))
    net = _Net(plan, (CHANNELS[weights.modality], *shape), f"{digest(weights)[:16]}-{shape[0]}x{shape[1]}")
    return _wrap_runner(RUNTIMES[choose_runtime(runtime)][2](net, threads))


def build_columns(weights: OpenL3Weights, height: int, runtime: str = "auto") -> GridFunction:
    """Return the network for audio without its last pooling, for spectrograms of any length.

    (1, 1, F, T) to (1, F // 8 x T // 8, 512), row by row.
    """
    plan = fold_steps(build_steps(weights, (1, 1)))[:-1]
    net = _Net(plan, (1, height, None), f"{digest(weights)[:16]}-{height}-columns")
    return _wrap_runner(RUNTIMES[choose_runtime(runtime)][2](net, 1))


def _wrap_runner(run: Runner) -> GridFunction:
    def call(batch: np.ndarray) -> np.ndarray:
        (out,) = run({"x": np.asarray(batch, np.float32)})
        return _move_channels_last(out)

    return call


def _move_channels_last(out: np.ndarray) -> np.ndarray:
    """Return ncnn's (B, 512, rows, columns) as (B, rows x columns, 512), which the other runtimes give."""
    if out.ndim == 3:
        return out
    return np.ascontiguousarray(out.reshape(*out.shape[:2], -1).transpose(0, 2, 1))


class LazyGrid:
    """Network that is made at its first call, once, whichever thread calls first; weights load then and not before."""

    def __init__(self, load: Callable[[], OpenL3Weights], shape: InputShape, runtime: str, threads: int | None) -> None:
        self._load, self._shape, self._threads = load, shape, threads
        self.runtime = choose_runtime(runtime)
        self._lock = threading.Lock()
        self._grid: GridFunction | None = None

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Run a batch, as `GridFunction` says."""
        with self._lock:
            if self._grid is None:
                self._grid = build_grid(self._load(), self._shape, self.runtime, self._threads)
        return self._grid(batch)


def pool_grids(grids: np.ndarray, size: int) -> np.ndarray:
    """Return (B, size) vectors of one of the two published sizes: the flat grids, or the maximum over each grid."""
    if size == grids.shape[1] * grids.shape[2]:
        return grids.reshape(len(grids), -1)
    if size == grids.shape[2]:
        return np.asarray(grids.max(axis=1))
    raise ValueError(f"expected a size of {grids.shape[1] * grids.shape[2]} or {grids.shape[2]}, got {size}")


def list_runtimes() -> Sequence[str]:
    """Return the runtimes that run here, the fastest first."""
    found = [name for name, (module, *_) in RUNTIMES.items() if find_spec(module)]
    return found if _has_gpu() else [name for name in found if name != "torch-bf16"]
