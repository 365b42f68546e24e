"""OpenL3's steps as an ONNX graph, written node by node: no tracing, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ._openl3_plan import Conv, Pool, Relu, Scale, Step

OPSET = 17


class _Graph:
    """Nodes and their constants, each node reading what the one before it wrote."""

    def __init__(self, last: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.last = last

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        self.last = output or f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [self.last], **attributes))
        return self.last


def _per_channel(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(1, -1, 1, 1)


def _add(graph: _Graph, step: Step) -> None:
    match step:
        case Scale():
            graph.add("Mul", graph.last, graph.constant(_per_channel(step.scale)))
            graph.add("Add", graph.last, graph.constant(_per_channel(step.shift)))
        case Conv():
            kernel = graph.constant(step.kernel.transpose(3, 2, 0, 1).astype(np.float32))
            bias = graph.constant(step.bias.astype(np.float32))
            graph.add("Conv", graph.last, kernel, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            if step.relu:
                graph.add("Relu", graph.last)
        case Relu():
            graph.add("Relu", graph.last)
        case Pool():
            size = [step.height, step.width]
            graph.add("MaxPool", graph.last, kernel_shape=size, strides=size)


def model(plan: Sequence[Step], shape: tuple[int, int, int]) -> onnx.ModelProto:
    """A model from `x` (B, C, H, W) float32 to `grid` (B, rows x columns, 512)."""
    graph = _Graph("x")
    for step in plan:
        _add(graph, step)
    graph.add("Reshape", graph.last, graph.constant(np.array([0, 512, -1])))
    graph.add("Transpose", graph.last, output="grid", perm=[0, 2, 1])
    return finish(graph, ("x", ["batch", *shape]), ("grid", ["batch", None, 512]))


def finish(
    graph: _Graph, source: tuple[str, list[Any]], target: tuple[str, list[Any]], name: str = "openl3"
) -> onnx.ModelProto:
    """The graph as a checked model; `source` and `target` are a name and a shape each."""
    body = helper.make_graph(
        graph.nodes,
        name,
        [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, source[1])],
        [helper.make_tensor_value_info(target[0], TensorProto.FLOAT, target[1])],
        graph.constants,
    )
    made = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="percepts")
    made.ir_version = 8  # what opset 17 came with; runtimes of 2022 read it
    onnx.checker.check_model(made)
    return made
