"""torch: a module → a runner, and a module → an ONNX graph on disk for the other runtimes."""

from __future__ import annotations

import inspect
import logging
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from ..types import Inputs
from ._network import Network, split, stack
from ._rows import cores

GPU_ROWS = 64
"""Rows a call on a GPU, where a few do not fill it."""


class TorchRunner:
    """Runs the module `rows` rows a call; torch's own threads work inside the call.

    device   "cpu", or "cuda" for a GPU: the batch is then copied from pinned memory, so that copying and computing
             overlap, and with precision "bfloat16" the module computes in it
    threads  parts of a batch that run side by side on the CPU, each on one core: threads inside a call wait for each
             other at every layer, which costs most where decoding wants the cores too. None: one per core
    """

    def __init__(
        self,
        module: torch.nn.Module,
        rows: int = 1,
        device: str = "cpu",
        precision: str = "float32",
        threads: int | None = None,
    ) -> None:
        self._module = module.eval().to(device)
        self._rows, self._device, self._precision = rows, torch.device(device), precision
        self._threads = (threads or cores()) if rows > 1 and device == "cpu" else 1
        self._pool = single_threaded(self._threads) if self._threads > 1 else None

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """A batch in, one array per output of the module."""
        count = len(next(iter(inputs.values())))
        parts = split(inputs, max(1, min(self._rows, -(-count // self._threads))))
        each = map if self._pool is None or len(parts) == 1 else self._pool.map
        return stack(list(each(self._call, parts)))

    def _call(self, part: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        cast = torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bfloat16")
        with torch.inference_mode(), cast:
            results = self._module(*(self._tensor(value) for value in part.values()))
            return tuple(map(_numpy, results if isinstance(results, tuple) else (results,)))

    def _tensor(self, value: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(value))
        return tensor if self._device.type == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)


def single_threaded(count: int) -> ThreadPoolExecutor:
    """A pool whose threads compute with one thread each; the number of threads elsewhere stays what it is.

    torch keeps the number per thread once it is set there, and as the start value of threads to come: that one is set
    back when all of the pool have theirs.
    """
    before, met = torch.get_num_threads(), threading.Barrier(count)

    def settle(_: int) -> None:
        torch.get_num_threads()  # the first question a thread asks gives it the start value: that must be behind it
        torch.set_num_threads(1)
        met.wait()

    pool = ThreadPoolExecutor(count, "percepts-torch")
    list(pool.map(settle, range(count)))
    torch.set_num_threads(before)
    return pool


def _numpy(result: torch.Tensor) -> np.ndarray:
    if result.dtype == torch.bfloat16:
        result = result.float()
    array: np.ndarray = result.cpu().numpy()
    return array


def device(network: Network) -> str:
    """Where torch runs it: on a GPU where there is one and the network takes many rows a call, else on the CPU."""
    return "cuda" if network.rows > 1 and network.precision != "int8" and torch.cuda.is_available() else "cpu"


def export(network: Network, path: Path) -> None:
    """Write the network's graph for one item to `path`, weights inside."""
    tensors = tuple(torch.from_numpy(np.ascontiguousarray(value)) for value in network.example.values())
    module = network.build()
    shapes: tuple[object, ...] = tuple(
        {axis: torch.export.Dim(length) for axis, length in network.free.get(name, {}).items()}
        for name in network.example
    )
    if any(p.kind == p.VAR_POSITIONAL for p in inspect.signature(module.forward).parameters.values()):
        shapes = (shapes,)
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")  # of the exporter's own deprecations; nothing a caller can act on
        torch.onnx.export(
            module,
            tensors,
            str(path),
            input_names=list(network.example),
            output_names=list(network.outputs),
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
            external_data=False,
        )


class _quiet:
    """Loggers of these names say errors only while this lasts."""

    def __init__(self, *names: str) -> None:
        self._loggers = [logging.getLogger(name) for name in names]

    def __enter__(self) -> None:
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
