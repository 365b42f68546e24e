"""An ncnn graph in, a callable out. Winograd convolutions on the CPU, float32 throughout; the binding frees the GIL."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from percepts.errors import EncodeError, MissingExtra

try:
    import ncnn
except ImportError as error:
    raise MissingExtra("the ncnn runtime needs ncnn: pip install 'percepts[ncnn]'") from error


class NcnnRunner:
    """One item at a time through a shared net, `threads` items at once; so a batch is bit-identical to its items.

    param     the graph, as text
    weights   the weights, as bytes
    output    name of the blob to read; input is the one blob the mapping names
    """

    def __init__(self, param: str, weights: bytes, *, output: str, threads: int = 1) -> None:
        self._weights = weights  # ncnn points into these bytes rather than copy them
        self._net = ncnn.Net()
        _set_options(self._net.opt)
        if self._net.load_param_mem(param) != 0:
            raise ValueError(f"ncnn does not read this graph, which begins {param[:80]!r}")
        self._net.load_model_mem(weights)
        self._output = output
        self._pool = ThreadPoolExecutor(threads, "ncnn") if threads > 1 else None

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """One array (B, C, H, W) by the name of its blob, to (B, C', H', W'). float32 both."""
        ((name, batch),) = inputs.items()
        items = [np.ascontiguousarray(item, np.float32) for item in batch]
        if not items:
            raise ValueError("expected at least one item, got an empty batch")
        run = self._pool.map if self._pool else map
        return (np.stack(list(run(lambda item: self._one(name, item), items))),)

    def _one(self, name: str, item: np.ndarray) -> np.ndarray:
        extractor = self._net.create_extractor()
        extractor.input(name, ncnn.Mat(item).clone())  # a first layer that works in place crashes on borrowed memory
        code, out = extractor.extract(self._output)
        if code != 0:
            raise EncodeError(f"ncnn gave no {self._output!r} for {name} {item.shape} (code {code})")
        return np.array(out)


def _set_options(options: ncnn.Option) -> None:
    """float32 everywhere: half floats would save nothing here and cost three digits."""
    options.num_threads = 1
    options.use_winograd_convolution = True
    options.use_packing_layout = True
    options.lightmode = True
    options.use_vulkan_compute = False
    for name in ("fp16_storage", "fp16_packed", "fp16_arithmetic", "bf16_storage", "int8_inference"):
        setattr(options, f"use_{name}", False)


def save(stem: Path, param: str, weights: bytes) -> None:
    """Write `stem`.param and `stem`.bin, as ncnn's own tools read them."""
    stem.with_name(stem.name + ".param").write_text(param)
    stem.with_name(stem.name + ".bin").write_bytes(weights)
