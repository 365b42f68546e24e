"""ONNX Runtime: a graph for one item on disk → a runner, one row a call on each thread of a small pool."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ..types import Inputs
from .row_pool import RowPool


class OnnxRunner:
    """Runs the graph at `path` on the CPU. `threads`: rows at a time; None for one per core."""

    graph = ""
    """The sha256 of the graph, where it is one of the cache."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # the graph is ours: its optimiser's warnings are for nobody
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._pool = RowPool(threads)

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """A batch in, one array per output of the graph."""
        return self._pool.map(self._run_row, inputs)

    def _run_row(self, row: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        return tuple(self._session.run(None, row))


def quantise_graph(source: Path, target: Path) -> None:
    """Write the graph with int8 weights per channel, activations scaled as they come.

    Without VNNI, u8 times s8 saturates in 16 bits; leaving a bit free (`reduce_range`) is right everywhere.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(source))
    del model.graph.value_info[:]  # shapes that torch's exporter wrote and that its quantiser then trips over
    options = {"MatMulConstBOnly": True}
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # onnxruntime advises to preprocess, through the root logger
    try:
        quantize_dynamic(
            model, str(target), op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, reduce_range=True,
            weight_type=QuantType.QInt8, extra_options=options,
        )  # fmt: skip
    finally:
        root.setLevel(level)
