"""Write OpenL3's steps as an ONNX graph, node by node, without tracing or torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...preprocess.mel import mel_filters
from ...preprocess.openl3 import FLOOR, FRAMES, RANGE, RATE, STRIDE, WINDOW, FrameLayout
from .plan import (
    CHANNELS,
    IMAGE_SIDE,
    INPUT_SHAPES,
    Conv,
    OpenL3Weights,
    Pool,
    Relu,
    Scale,
    Step,
    build_steps,
    embedding_sizes,
    fold_steps,
    last_pool_size,
)

OPSET = 17


class _OnnxGraph:
    """Nodes and their constants, each node reading what the one before it wrote."""

    def __init__(self, last: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.last = last

    def add_constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        self.last = output or f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [self.last], **attributes))
        return self.last


def _reshape_channels(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(1, -1, 1, 1)


def _add_step(graph: _OnnxGraph, step: Step) -> None:
    match step:
        case Scale():
            graph.add("Mul", graph.last, graph.add_constant(_reshape_channels(step.scale)))
            graph.add("Add", graph.last, graph.add_constant(_reshape_channels(step.shift)))
        case Conv():
            # (3, 3, in, out) to (out, in, 3, 3).
            kernel = graph.add_constant(step.kernel.transpose(3, 2, 0, 1).astype(np.float32))
            bias = graph.add_constant(step.bias.astype(np.float32))
            graph.add("Conv", graph.last, kernel, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            if step.relu:
                graph.add("Relu", graph.last)
        case Relu():
            graph.add("Relu", graph.last)
        case Pool():
            size = [step.height, step.width]
            graph.add("MaxPool", graph.last, kernel_shape=size, strides=size)


def build_model(plan: Sequence[Step], shape: tuple[int, int, int | None]) -> onnx.ModelProto:
    """Build a model from `x` (B, C, H, W) float32, W None if it may vary, to `grid` (B, rows x columns, 512)."""
    graph = _OnnxGraph("x")
    for step in plan:
        _add_step(graph, step)
    graph.add("Reshape", graph.last, graph.add_constant(np.array([0, 512, -1])))  # 0 keeps the batch
    graph.add("Transpose", graph.last, output="grid", perm=[0, 2, 1])
    return _finish_model(graph, ("x", ["batch", *shape]), ("grid", ["batch", None, 512]))


def build_embedding_model(
    weights: OpenL3Weights, input_repr: str | None, size: int, frontend: str = ""
) -> onnx.ModelProto:
    """Build a complete model for other programs, from audio, spectrogram or image to `embedding` (B, size).

    frontend  kapre, librosa or trained: the input is `audio` (B, 48000), a second at 48 kHz. "": the input is
              `spectrogram` (B, F, T, 1) in decibels, or for images `image` (B, 224, 224, 3), as openl3's models take
    """
    shape = INPUT_SHAPES[input_repr] if weights.modality == "audio" else (IMAGE_SIDE, IMAGE_SIDE)  # type: ignore[index]
    graph = _OnnxGraph("audio" if frontend else _INPUT_NAMES[weights.modality])
    first = graph.last, ["batch", WINDOW] if frontend else ["batch", *shape, CHANNELS[weights.modality]]
    if frontend:
        _add_spectrogram(graph, FRAMES[frontend, str(input_repr)])
    else:
        graph.add("Transpose", graph.last, perm=[0, 3, 1, 2])
    large, _ = embedding_sizes(weights.modality)
    pool = last_pool_size(weights.modality, shape) if size == large else (shape[0] // 8, shape[1] // 8)
    for step in fold_steps(build_steps(weights, pool)):
        _add_step(graph, step)
    graph.add("Transpose", graph.last, perm=[0, 2, 3, 1])
    graph.add("Reshape", graph.last, graph.add_constant(np.array([0, size])), output="embedding")
    return _finish_model(graph, first, ("embedding", ["batch", size]))


_INPUT_NAMES = {"audio": "spectrogram", "image": "image"}


def _add_spectrogram(graph: _OnnxGraph, frames: FrameLayout) -> None:
    """Add the frontend in float32, from (B, 48000) to (B, 1, F, T)."""
    after = max(frames.padded_samples - frames.left - WINDOW, 0)
    graph.add("Pad", graph.last, graph.add_constant(np.array([0, frames.left, 0, after])))
    graph.add("Unsqueeze", graph.last, graph.add_constant(np.array([2])))
    step, length = graph.add_constant(np.array(STRIDE)), graph.add_constant(np.array(frames.n_fft))
    hann = graph.add_constant(
        (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frames.n_fft) / frames.n_fft)).astype(np.float32)
    )
    graph.add("STFT", graph.last, step, hann, length, onesided=1)  # (B, T, F, 2)
    graph.add("ReduceSumSquare", graph.last, axes=[3], keepdims=0)
    if frames.power == 1.0:
        graph.add("Sqrt", graph.last)
    if frames.bands:
        filters = mel_filters(RATE, frames.n_fft, frames.bands, scale=frames.scale)
        graph.add("MatMul", graph.last, graph.add_constant(filters.T.astype(np.float32)))
    if frames.power == 2.0:
        graph.add("Sqrt", graph.last)
    graph.add("Transpose", graph.last, perm=[0, 2, 1])
    graph.add("Max", graph.last, graph.add_constant(np.array(FLOOR, np.float32)))
    graph.add("Log", graph.last)
    level = graph.add("Mul", graph.last, graph.add_constant(np.array(10 / np.log(10), np.float32)))
    loudest = graph.add("ReduceMax", level, axes=[1, 2], keepdims=1)
    graph.add("Sub", level, loudest)
    graph.add("Max", graph.last, graph.add_constant(np.array(-RANGE, np.float32)))
    graph.add("Unsqueeze", graph.last, graph.add_constant(np.array([1])))


def _finish_model(
    graph: _OnnxGraph, source: tuple[str, list[Any]], target: tuple[str, list[Any]], name: str = "openl3"
) -> onnx.ModelProto:
    """Return the graph as a checked model; `source` and `target` are a name and a shape each."""
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
