"""Run ncnn graphs on the CPU in float32, with Winograd convolutions. The binding releases the GIL."""

from __future__ import annotations

from pathlib import Path

import ncnn
import numpy as np

from ..errors import EncodeError
from ..types import Inputs
from .row_pool import RowPool


class NcnnRunner:
    """Runner of an ncnn graph. Each of its threads runs one row a call, so a batch gives the same bits as its rows.

    Args:
        param: the graph, as text.
        weights: the weights, as bytes.
        output: name of the output blob.
        threads: rows at a time; None for one per core.
    """

    def __init__(self, param: str, weights: bytes, output: str, threads: int | None = None) -> None:
        self._weights = weights  # ncnn does not copy all of these bytes, so they must stay alive
        self._net = ncnn.Net()
        _set_options(self._net.opt)
        if self._net.load_param_mem(param) != 0:  # ncnn returns codes and raises nothing
            raise ValueError(f"ncnn cannot read this graph, which begins {param[:80]!r}")
        self._net.load_model_mem(weights)
        self._output = output
        self._pool = RowPool(threads)

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """Run arrays (B, C, H, W) by the names of their blobs; return one (B, C', H', W'). Both are float32."""
        return self._pool.map(self._run_row, inputs)

    def _run_row(self, row: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        extractor = self._net.create_extractor()
        for name, value in row.items():
            array = np.ascontiguousarray(value[0], np.float32)  # a Mat borrows its memory and does not keep it alive
            # cloned, because a first layer that works in place crashes on borrowed memory
            extractor.input(name, ncnn.Mat(array).clone())
        code, out = extractor.extract(self._output)
        if code != 0:
            raise EncodeError(f"ncnn could not compute {self._output!r} (code {code})")
        return (np.array(out)[None],)


def _set_options(options: ncnn.Option) -> None:
    """Set float32 everywhere. Half floats would save nothing here and lose three digits."""
    options.num_threads = 1  # RowPool has a thread per core already
    options.use_winograd_convolution = True
    options.use_packing_layout = True
    options.lightmode = True  # the memory of a blob is freed after its last use
    options.use_vulkan_compute = False
    for name in ("fp16_storage", "fp16_packed", "fp16_arithmetic", "bf16_storage", "int8_inference"):
        setattr(options, f"use_{name}", False)


def save_ncnn(stem: Path, param: str, weights: bytes) -> None:
    """Write `stem`.param and `stem`.bin, which ncnn's own tools read."""
    stem.with_name(stem.name + ".param").write_text(param)
    stem.with_name(stem.name + ".bin").write_bytes(weights)
