"""Run ONNX graphs with ONNX Runtime, one row a call on each thread of a small pool."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ..types import Inputs
from .row_pool import RowPool


class OnnxRunner:
    """Runner of the graph at `path` on the CPU. `threads`: rows at a time; None for one per core."""

    graph = ""
    """The sha256 of the graph, if it is from the cache."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # RowPool has a thread per core already
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # percepts exported the graph, and users cannot act on warnings about it
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._pool = RowPool(threads)

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """Run a batch; return one array per output of the graph."""
        return self._pool.map(self._run_row, inputs)

    def _run_row(self, row: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        return tuple(self._session.run(None, row))


def quantise_graph(source: Path, target: Path) -> None:
    """Write a graph with int8 weights, scaled per channel; activations are scaled as they come."""
    # reduce_range leaves a bit free: without VNNI, products of u8 and s8 saturate in 16 bits
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(source))
    del model.graph.value_info[:]  # shapes from torch's exporter, at which the quantiser fails
    options = {"MatMulConstBOnly": True}  # products of two activations, as in attention, stay float32
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # onnxruntime advises to preprocess the graph, by the root logger
    try:
        quantize_dynamic(
            model, str(target), op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, reduce_range=True,
            weight_type=QuantType.QInt8, extra_options=options,
        )  # fmt: skip
    finally:
        root.setLevel(level)
