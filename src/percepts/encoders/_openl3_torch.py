"""OpenL3's steps as a torch module: the reference, and the runtime for a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ._openl3_plan import Conv, Pool, Relu, Scale, Step


class _Scale(nn.Module):
    def __init__(self, step: Scale) -> None:
        super().__init__()
        self.register_buffer("scale", _tensor(step.scale).view(1, -1, 1, 1))
        self.register_buffer("shift", _tensor(step.shift).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _conv(step: Conv) -> nn.Sequential:
    layer = nn.Conv2d(step.kernel.shape[2], step.kernel.shape[3], 3, padding=1)
    layer.weight.data = _tensor(step.kernel.transpose(3, 2, 0, 1))
    layer.bias.data = _tensor(step.bias)
    return nn.Sequential(layer, *([nn.ReLU()] if step.relu else []))


def _layer(step: Step) -> nn.Module:
    match step:
        case Scale():
            return _Scale(step)
        case Conv():
            return _conv(step)
        case Relu():
            return nn.ReLU()
        case Pool():
            return nn.MaxPool2d((step.height, step.width))


class Network(nn.Module):
    """(B, C, H, W) float32 to (B, rows x columns, 512): the grid, row by row."""

    def __init__(self, plan: Sequence[Step]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*map(_layer, plan)).eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).flatten(2).transpose(1, 2)
