"""OpenL3's steps as ncnn's two files: the graph as text, the weights as bytes.

Formats: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure and operation-param-weight-table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._openl3_plan import Conv, Pool, Relu, Scale, Step

MAGIC = 7767517
_FLOAT32 = np.zeros(1, "<u4").tobytes()  # the flag before weights that are stored as they are


def _floats(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, "<f4").tobytes()


def _layer(step: Step) -> tuple[str, str, bytes]:
    """One layer: ncnn's name for it, its numbered settings, its weights."""
    match step:
        case Scale():
            count = step.scale.size
            return "Scale", f"0={count} 1=1", _floats(step.scale) + _floats(step.shift)
        case Conv():
            out, size = step.kernel.shape[3], step.kernel.size
            weights = _FLOAT32 + _floats(step.kernel.transpose(3, 2, 0, 1)) + _floats(step.bias)
            return "Convolution", f"0={out} 1=3 4=1 5=1 6={size} 9={int(step.relu)}", weights
        case Relu():
            return "ReLU", "", b""
        case Pool():
            # 5=1 is "valid": a remainder at the far edge is dropped, as Keras does
            return "Pooling", f"0=0 1={step.width} 11={step.height} 2={step.width} 12={step.height} 5=1", b""


def files(plan: Sequence[Step]) -> tuple[str, bytes]:
    """The param and bin of a network from blob `x` (C, H, W) to blob `grid` (512, rows, columns)."""
    lines, weights = ["Input x 0 1 x"], []
    last = "x"
    for index, step in enumerate(plan):
        kind, settings, data = _layer(step)
        out = "grid" if index == len(plan) - 1 else f"b{index}"
        lines.append(f"{kind} l{index} 1 1 {last} {out} {settings}".rstrip())
        weights.append(data)
        last = out
    return "\n".join([str(MAGIC), f"{len(lines)} {len(lines)}", *lines, ""]), b"".join(weights)
