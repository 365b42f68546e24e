"""OpenVINO: the same graph compiled for this CPU → a runner, one row after the other, the threads inside the row."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import openvino

from ..types import Inputs
from .network import split_rows, stack_rows
from .row_pool import usable_cores

_turn = threading.Lock()
"""One call into OpenVINO at a time. Requests that see their first shape side by side can wait for each other for ever,
on few cores (seen in 2026.4 with two threads, one run in six; ultralytics/ultralytics#25923 describes it)."""


class OpenVinoRunner:
    """Runs the graph at `path` on the CPU in float32. `threads`: at work on a row; None for one per core."""

    graph = ""
    """The sha256 of the graph, where it is one of the cache."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the CPU has it: other numbers on another machine
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": usable_cores() if threads is None else threads,
        }
        with _turn:
            self._request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """A batch in, one array per output of the graph."""
        with _turn:
            return stack_rows([self._run_row(row) for row in split_rows(inputs)])

    def _run_row(self, row: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        results = self._request.infer(row)
        return tuple(np.array(result) for result in results.values())  # copies: the request reuses its memory
