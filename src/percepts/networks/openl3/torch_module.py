"""Build OpenL3's steps as a torch module: the reference, and the runtime for a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...types import Inputs
from .plan import Conv, Pool, Relu, Scale, Step


class _ScaleLayer(nn.Module):
    scale: Tensor
    shift: Tensor

    def __init__(self, step: Scale) -> None:
        super().__init__()
        self.register_buffer("scale", _to_tensor(step.scale).view(1, -1, 1, 1))
        self.register_buffer("shift", _to_tensor(step.shift).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers and lay the grid out row by row."""
        return x * self.scale + self.shift


def _to_tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _build_conv(step: Conv) -> nn.Sequential:
    layer = nn.Conv2d(step.kernel.shape[2], step.kernel.shape[3], 3, padding=1)
    layer.weight = nn.Parameter(_to_tensor(step.kernel.transpose(3, 2, 0, 1)))
    layer.bias = nn.Parameter(_to_tensor(step.bias))
    return nn.Sequential(layer, *([nn.ReLU()] if step.relu else []))


def _build_layer(step: Step) -> nn.Module:
    match step:
        case Scale():
            return _ScaleLayer(step)
        case Conv():
            return _build_conv(step)
        case Relu():
            return nn.ReLU()
        case Pool():
            return nn.MaxPool2d((step.height, step.width))


class OpenL3Module(nn.Module):
    """Module from (B, C, H, W) float32 to (B, rows x columns, 512), the grid row by row."""

    def __init__(self, plan: Sequence[Step]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*map(_build_layer, plan)).eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers and lay the grid out row by row."""
        grid: Tensor = self.layers(x)
        return grid.flatten(2).transpose(1, 2)


class TorchGrid:
    """The module as a runner: channels last, on the GPU where there is one, else one row a call on the CPU.

    half   bfloat16, on a GPU only (ValueError): faster, and three digits fewer
    """

    def __init__(self, plan: Sequence[Step], *, half: bool = False) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if half and self._device.type != "cuda":
            raise ValueError("torch-bf16 needs a GPU: bfloat16 on a CPU is slower than float32; use runtime='torch'")
        self._kind = torch.bfloat16 if half else torch.float32
        module = OpenL3Module(plan).to(self._device, self._kind)
        self._module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """Run {"x": (B, C, H, W)}; return one array (B, rows x columns, 512)."""
        batch = torch.from_numpy(np.ascontiguousarray(inputs["x"], np.float32)).to(self._device, self._kind)
        batch = batch.contiguous(memory_format=torch.channels_last)
        rows = [batch] if self._device.type == "cuda" else [batch[i : i + 1] for i in range(len(batch))]
        return (torch.cat([self._module(row) for row in rows]).float().cpu().numpy(),)
