"""Write OpenL3's steps as the two files of ncnn: the graph as text, the weights as bytes.

The first blocks of layers run strip by strip: a strip of 16 rows of frequency stays in the second-level cache from one
convolution to the next, where the whole map (13 MB) does not. A strip brings along the rows its convolutions see, so
nothing is approximated.

Formats: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure and operation-param-weight-table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

import numpy as np

from .plan import Conv, Pool, Relu, Scale, Step

MAGIC = 7767517  # first line of every param file
STRIP_ROWS = (16,)
"""Rows of a strip in each of the first blocks, a multiple of their pooling. In the second block they gain nothing."""
_FLOAT32 = np.zeros(1, "<u4").tobytes()  # the flag before weights that are stored as they are
_KEEP = -233


def build_files(plan: Sequence[Step], height: int, strips: Sequence[int] = STRIP_ROWS) -> tuple[str, bytes]:
    """Return the param and bin files of a network from `x` (C, height, W), any W, to `grid` (512, rows, columns).

    `strips` holds the rows of a strip in each of the first blocks; the blocks after them run whole.
    """
    graph = _NcnnGraph()
    for block, rows in zip(_split_blocks(plan), [*strips, *[0] * len(plan)], strict=False):
        if rows and height > rows:
            graph.add_in_strips(block, height, rows)
        else:
            graph.add_all(block)
        height //= _pooling_height(block)
    return graph.build_files()


def _split_blocks(plan: Sequence[Step]) -> list[list[Step]]:
    """Split the steps after each pooling."""
    blocks: list[list[Step]] = [[]]
    for step in plan:
        blocks[-1].append(step)
        if isinstance(step, Pool):
            blocks.append([])
    return [block for block in blocks if block]


def _pooling_height(block: Sequence[Step]) -> int:
    last = block[-1]
    return last.height if isinstance(last, Pool) else 1


class _NcnnGraph:
    """Layers and their weights, each layer reading the blob written last."""

    def __init__(self) -> None:
        self.lines: list[str] = ["Input x 0 1 x"]
        self.weights: list[bytes] = []
        self.last = "x"
        self._numbers = count()

    def build_files(self) -> tuple[str, bytes]:
        """Return text and bytes; the last blob is called `grid`."""
        # Words of a line: type, name, number of inputs, number of outputs.
        blobs = sum(int(line.split()[3]) for line in self.lines)
        lines = [line.replace(f" {self.last} ", " grid ") for line in (f"{line} " for line in self.lines)]
        text = "\n".join([str(MAGIC), f"{len(lines)} {blobs}", *(line.rstrip() for line in lines), ""])
        return text, b"".join(self.weights)

    def add(self, kind: str, settings: str, weights: bytes = b"", source: str = "") -> str:
        """Add a layer of one input and one output; return the name of its output."""
        number = next(self._numbers)
        self.lines.append(f"{kind} l{number} 1 1 {source or self.last} b{number} {settings}".rstrip())
        self.weights.append(weights)
        self.last = f"b{number}"
        return self.last

    def add_all(self, steps: Iterable[Step], above: int = 1, below: int = 1) -> None:
        """Add the layers of some steps, with convolutions padded by so many rows of zeros."""
        for step in steps:
            self.add(*_describe_layer(step, above, below))

    def add_in_strips(self, block: Sequence[Step], height: int, rows: int) -> None:
        """Add the layers of a block for every strip of `rows`, no fewer than its convolutions; join the outputs."""
        first = next(i for i, step in enumerate(block) if isinstance(step, Conv))
        self.add_all(block[:first])
        halo = sum(isinstance(step, Conv) for step in block)
        starts = range(0, height // rows * rows, rows)
        parts = []
        for start, source in zip(starts, self._add_split(len(starts)), strict=True):
            stop = height if start == starts[-1] else start + rows
            low, high = max(0, start - halo), min(height, stop + halo)
            self.add("Crop", f"0=0 1={low} 2=0 3={_KEEP} 4={high - low} 5={_KEEP}", source=source)
            # inside the map no zeros: the rows of the halo are used up instead
            self.add_all(block[first:], above=int(start == 0), below=int(stop == height))
            parts.append(self.last)
        self._add_concat(parts)

    def _add_split(self, copies: int) -> list[str]:
        number = next(self._numbers)
        names = [f"b{number}_{i}" for i in range(copies)]
        self.lines.append(f"Split l{number} 1 {copies} {self.last} {' '.join(names)}")
        return names

    def _add_concat(self, parts: Sequence[str]) -> None:
        number = next(self._numbers)
        self.last = f"b{number}"
        # 0=1 is the axis of rows: ncnn counts (C, H, W) from 0, without the batch.
        self.lines.append(f"Concat l{number} {len(parts)} 1 {' '.join(parts)} {self.last} 0=1")


def _describe_layer(step: Step, above: int, below: int) -> tuple[str, str, bytes]:
    """Return ncnn's name for a step, its numbered settings and its weights."""
    match step:
        case Scale():
            # 1=1: a bias follows the factors.
            return "Scale", f"0={step.scale.size} 1=1", _pack_floats(step.scale) + _pack_floats(step.shift)
        case Conv():
            out, size = step.kernel.shape[3], step.kernel.size
            weights = _FLOAT32 + _pack_floats(step.kernel.transpose(3, 2, 0, 1)) + _pack_floats(step.bias)
            pads = f"4=1 15=1 14={above} 16={below}"  # left, right, top, bottom
            return "Convolution", f"0={out} 1=3 {pads} 5=1 6={size} 9={int(step.relu)}", weights
        case Relu():
            return "ReLU", "", b""
        case Pool():
            # 5=1 is "valid": a remainder at the far edge is dropped, as Keras does
            return "Pooling", f"0=0 1={step.width} 11={step.height} 2={step.width} 12={step.height} 5=1", b""


def _pack_floats(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, "<f4").tobytes()
