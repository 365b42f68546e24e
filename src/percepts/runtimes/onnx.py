"""ONNX Runtime: a graph for one item on disk → a runner, one row a call on each thread of a small pool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from ..types import Inputs
from ._rows import RowPool


class OnnxRunner:
    """Runs the graph at `path` on the CPU. `threads`: rows at a time; None for one per core."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # the graph is ours: its optimiser's warnings are for nobody
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._pool = RowPool(threads)

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """A batch in, one array per output of the graph."""
        return self._pool.map(self._one, inputs)

    def _one(self, row: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        return tuple(self._session.run(None, row))
