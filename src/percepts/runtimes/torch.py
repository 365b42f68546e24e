"""Run modules with torch, and export them as ONNX graphs for the other runtimes."""

from __future__ import annotations

import inspect
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ..errors import EncodeError
from ..support.machine import is_out_of_memory
from ..types import Inputs
from .network import Network, split_batch, stack_rows
from .row_pool import usable_cores
from .streams import Streams

log = logging.getLogger(__name__)

GPU_ROWS = 64
"""Rows a call on a GPU. A few rows do not use all of it."""
LARGE = 5_000_000
"""Parameters from which on several threads in a call are faster than one, since they wait for each other: on two busy
cores a network of 30 thousand took a thousand times as long with two threads as with one."""


class TorchRunner:
    """Runner of a module: at most `rows` rows a call, and fewer after that many did not fit into memory.

    Args:
        module: the module.
        rows: rows a call.
        device: "cpu", or "cuda" for a GPU. There, copying overlaps computing, and images are stored channels last, the
            layout that convolutions on a GPU are fastest in.
        precision: "bfloat16" for matrix products and convolutions; everything else is float32.
        threads: parts of a batch that run at the same time on the CPU, each on one core; None for one per core. Threads
            inside a call would wait for each other at every layer, most of all while decoding uses the cores too. A
            single part in a large network gets all threads, and its last bits may depend on them. Settings of the
            process stay the same.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        rows: int = 1,
        device: str = "cpu",
        precision: str = "float32",
        threads: int | None = None,
    ) -> None:
        self._rows, self._device, self._precision = rows, torch.device(device), precision
        self._module = module.eval().to(self._device)
        if device == "cpu":
            self._threads = threads or usable_cores()
            self._side = make_thread_pool(self._threads)
            inside = rows > 1 and self._threads > 1 and sum(p.numel() for p in module.parameters()) >= LARGE
            self._alone = make_thread_pool(1, self._threads) if inside else self._side
        else:
            self._threads, self._streams = 1, Streams(self._device)
            self._module = self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """Run a batch; return one array per output of the module."""
        count = len(next(iter(inputs.values())))
        while True:
            size = max(1, min(self._rows, -(-count // self._threads)))  # rounded up, or a part would be left over
            try:
                return stack_rows(self._map(split_batch(inputs, size)))
            except Exception as error:  # allocators raise errors of many types
                if size == 1 or not is_out_of_memory(error):
                    raise
                self._rows = size // 2
                log.warning("out of memory with %d rows a call; continuing with %d", size, self._rows)
            # not in the except block, where the traceback still holds the tensors
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def _map(self, parts: list[dict[str, np.ndarray]]) -> list[tuple[np.ndarray, ...]]:
        if self._device.type == "cpu":
            return list((self._alone if len(parts) == 1 else self._side).map(self._on_cpu, parts))
        with torch.inference_mode():
            return self._streams.map(self._call, parts)

    def _on_cpu(self, part: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        with torch.inference_mode():  # in the worker, because the mode is that of a thread
            results = self._call(*(torch.from_numpy(np.ascontiguousarray(value)) for value in part.values()))
            # numpy has no bfloat16
            return tuple((r.float() if r.dtype == torch.bfloat16 else r).numpy() for r in results)

    def _call(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
            results = self._module(*tensors)
        return results if isinstance(results, tuple) else (results,)


def make_thread_pool(count: int, threads: int = 1) -> ThreadPoolExecutor:
    """Make a pool whose `count` workers compute with `threads` threads each. Other threads keep their number.

    torch keeps the number of threads for each thread that sets it, and also as the initial value of new threads. That
    initial value is set back when all workers of the pool have their own.
    """
    before, all_set = torch.get_num_threads(), threading.Barrier(count)

    def settle(_: int) -> None:
        torch.get_num_threads()  # the first call in a thread sets the initial value, so it must come before
        torch.set_num_threads(threads)
        all_set.wait()

    pool = ThreadPoolExecutor(count, "percepts-torch")
    list(pool.map(settle, range(count)))
    torch.set_num_threads(before)
    return pool


def compile_module(module: torch.nn.Module) -> torch.nn.Module:
    """Wrap a module in torch.compile, which generates kernels at the first calls and takes half a minute for it."""
    compiled: Any = torch.compile(module)
    return cast(torch.nn.Module, compiled)


def choose_device(network: Network) -> str:
    """Return "cuda" where there is a GPU and the network takes many rows a call, else "cpu"."""
    return "cuda" if network.rows > 1 and network.precision != "int8" and torch.cuda.is_available() else "cpu"


def export_onnx(network: Network, path: Path) -> None:
    """Write the network's graph for one item to `path`, weights inside."""
    tensors = tuple(torch.from_numpy(np.ascontiguousarray(value)) for value in network.example.values())
    module = network.build_module()
    shapes: tuple[object, ...] = tuple(
        {axis: torch.export.Dim(length) for axis, length in network.free.get(name, {}).items()}
        for name in network.example
    )
    if any(p.kind == p.VAR_POSITIONAL for p in inspect.signature(module.forward).parameters.values()):
        shapes = (shapes,)  # torch.export takes the shapes of *args as one tuple
    with _quiet_export(network.name):
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


@contextmanager
def _quiet_export(name: str) -> Iterator[None]:
    """Silence the exporter, turn its errors into EncodeError, and restore the environment variable that it sets."""
    before = os.environ.get(_INDUCTOR)
    with warnings.catch_warnings(), _QuietLoggers("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")  # deprecations inside the exporter, about which a user can do nothing
        try:
            yield
        except torch.onnx.OnnxExporterError as error:
            raise EncodeError(
                f"{name} cannot be exported to ONNX: use the runtime torch, which needs no export"
            ) from error
        finally:
            if before is None:
                os.environ.pop(_INDUCTOR, None)


_INDUCTOR = "TORCHINDUCTOR_CACHE_DIR"


class _QuietLoggers:
    """Context manager in which loggers of these names log only errors."""

    def __init__(self, *names: str) -> None:
        self._loggers = [logging.getLogger(name) for name in names]

    def __enter__(self) -> None:
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
