"""torch: a module → a runner, and a module → an ONNX graph on disk for the other runtimes."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import torch

from ..types import Inputs
from ._network import Network, rows, stack


class TorchRunner:
    """Runs the module one row a call; torch's own threads work inside the row."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module.eval()

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """A batch in, one array per output of the module."""
        return stack([self._one(row) for row in rows(inputs)])

    @torch.inference_mode()
    def _one(self, row: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        results = self._module(*(torch.from_numpy(np.ascontiguousarray(value)) for value in row.values()))
        return tuple(result.numpy() for result in (results if isinstance(results, tuple) else (results,)))


def export(network: Network, path: Path) -> None:
    """Write the network's graph for one item to `path`, weights inside."""
    tensors = tuple(torch.from_numpy(np.ascontiguousarray(value)) for value in network.example.values())
    shapes = tuple(
        {axis: torch.export.Dim(length) for axis, length in network.free.get(name, {}).items()}
        for name in network.example
    )
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")  # of the exporter's own deprecations; nothing a caller can act on
        torch.onnx.export(
            network.build(),
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
