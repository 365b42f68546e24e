"""Quantise the linear layers of a float32 network to 8-bit integers. Everything else, also attention, stays float32.

Weights are quantised per output channel, activations per item of a batch as they come, so an item does not depend on
the others of its batch. Fused attention is kept, which int8 graphs of ONNX Runtime lose: on AST, whose 1214 tokens make
attention a third of the work, int8 is 1.7 times as fast as float32 with it and 1.2 times without.
"""

from __future__ import annotations

import warnings

import torch
from torch import nn

LEVELS = 127  # int8 has -128 as well; without it the range is symmetric
SMALLEST = 1e-12  # a channel of zeros must not divide by zero


class Int8Linear(nn.Module):
    """nn.Linear in int8. The error of a weight is at most 1/254 of the largest weight of its channel."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scales = weight.abs().amax(dim=1).clamp(min=SMALLEST) / LEVELS
        zeros = torch.zeros(len(weight), dtype=torch.long)
        with warnings.catch_warnings():
            # torch warns that quantised tensors will be removed; it has no other int8 kernels for CPUs yet
            warnings.simplefilter("ignore", UserWarning)
            quantised = torch.quantize_per_channel(weight, scales.double(), zeros, 0, torch.qint8)
        bias = None if linear.bias is None else linear.bias.detach().float()
        self._packed = torch.ops.quantized.linear_prepack(quantised, bias)
        # without VNNI, products of u8 and s8 are added in pairs of 16 bits, which overflow unless a bit is left free
        self._reduce = not torch.cpu._is_vnni_supported()
        self.in_features, self.out_features = linear.in_features, linear.out_features

    @property
    def weight(self) -> torch.Tensor:
        """An empty tensor. Some models look at type and device of a layer's weights; the numbers are packed."""
        return torch.empty(self.out_features, 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., N) float32 to (..., M) float32. Of three or more axes the first is the batch."""
        if x.dim() < 3 or len(x) == 1:
            return self._run_row(x)
        return torch.stack([self._run_row(item) for item in x])

    def _run_row(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.ops.quantized.linear_dynamic(x, self._packed, self._reduce)
        return result


def quantise_linears(module: nn.Module) -> nn.Module:
    """Replace every nn.Linear in a module, in place, and return the module."""
    for name, child in module.named_children():
        if type(child) is nn.Linear:  # not isinstance: a subclass may compute something else
            setattr(module, name, Int8Linear(child))
        else:
            quantise_linears(child)
    return module
