"""OpenVINO: the same graph compiled for this CPU → a runner, one row a call on each thread of a small pool."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import openvino

from ..types import Inputs
from ._rows import RowPool


class OpenVinoRunner:
    """Runs the graph at `path` on the CPU in float32. `threads`: rows at a time; None for one per core."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self._pool = RowPool(threads)
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the CPU has it: other numbers on another machine
            "NUM_STREAMS": self._pool.threads,
            "INFERENCE_NUM_THREADS": self._pool.threads,
        }
        self._model = openvino.Core().compile_model(str(path), "CPU", settings)
        self._local = threading.local()

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """A batch in, one array per output of the graph."""
        return self._pool.map(self._one, inputs)

    def _one(self, row: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        request = self._request()
        results = request.infer(row)
        return tuple(
            np.array(results[output]) for output in self._model.outputs
        )  # copies: the request reuses its memory

    def _request(self) -> openvino.InferRequest:
        """A request belongs to one thread."""
        if not hasattr(self._local, "request"):
            self._local.request = self._model.create_infer_request()
        return self._local.request
