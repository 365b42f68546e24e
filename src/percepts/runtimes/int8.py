"""A float32 network → the same with its linear layers in 8-bit integers; all else, attention too, stays float32.

Weights are quantised per output channel, activations per item of the batch when they come: what an item becomes does
not depend on its company. Fused attention is kept, which int8 graphs of ONNX Runtime lose: on AST, whose 1214 tokens
make attention a third of the work, that is the difference between 1.2 and 1.7 times float32.
"""

from __future__ import annotations

import warnings

import torch
from torch import nn

LEVELS = 127
SMALLEST = 1e-12


class Int8Linear(nn.Module):
    """nn.Linear in int8; the rounding of a weight is at most half of 1/127 of the largest of its channel."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scales = weight.abs().amax(dim=1).clamp(min=SMALLEST) / LEVELS
        zeros = torch.zeros(len(weight), dtype=torch.long)
        with (
            warnings.catch_warnings()
        ):  # that its kind of tensor is on its way out; its kernels have no heir on CPUs yet
            warnings.simplefilter("ignore", UserWarning)
            quantised = torch.quantize_per_channel(weight, scales.double(), zeros, 0, torch.qint8)
        bias = None if linear.bias is None else linear.bias.detach().float()
        self._packed = torch.ops.quantized.linear_prepack(quantised, bias)
        # Without VNNI, u8 times s8 is summed in pairs of 16 bits, which overflow unless a bit is left free.
        self._reduce = not torch.cpu._is_vnni_supported()
        self.in_features, self.out_features = linear.in_features, linear.out_features

    @property
    def weight(self) -> torch.Tensor:
        """Some models look at the type and place of a layer's weights; the numbers are in the packed ones."""
        return torch.empty(self.out_features, 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., N) float32 to (..., M) float32; the first axis of three or more is the batch."""
        if x.dim() < 3 or len(x) == 1:
            return self._run_row(x)
        return torch.stack([self._run_row(item) for item in x])

    def _run_row(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.ops.quantized.linear_dynamic(x, self._packed, self._reduce)
        return found


def quantise_linears(module: nn.Module) -> nn.Module:
    """The module with every nn.Linear inside it replaced, in place."""
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, Int8Linear(child))
        else:
            quantise_linears(child)
    return module
