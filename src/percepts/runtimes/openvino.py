"""Run ONNX graphs with OpenVINO, one row after the other, with several threads inside a row."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import openvino

from ..types import Inputs
from .network import split_rows, stack_rows
from .row_pool import usable_cores

_turn = threading.Lock()
"""Lock for one call into OpenVINO at a time. Two requests that compile their first shape at once can block each other
forever on few cores (seen in 2026.4 with two threads, one run in six; see ultralytics/ultralytics#25923)."""


class OpenVinoRunner:
    """Runner of the graph at `path` on the CPU in float32. `threads`: threads for a row; None for one per core."""

    graph = ""
    """The sha256 of the graph, if it is from the cache."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # the default is bfloat16 on CPUs that have it, with other results
            "NUM_STREAMS": 1,  # only one call at a time, see _turn
            "INFERENCE_NUM_THREADS": usable_cores() if threads is None else threads,
        }
        with _turn:
            self._request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """Run a batch; return one array per output of the graph."""
        with _turn:
            return stack_rows([self._run_row(row) for row in split_rows(inputs)])

    def _run_row(self, row: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        results = self._request.infer(row)
        return tuple(np.array(result) for result in results.values())  # copies: the request reuses its memory
