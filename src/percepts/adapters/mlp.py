"""Define the adapter `mlp2x_gelu`: two linear layers and a GELU (LLaVA 1.5's projector); one token per step."""

from __future__ import annotations

import torch
from torch import nn

from .base import Adapter


class Mlp2xGelu(Adapter):
    """Linear → GELU → Linear (Liu et al. 2023, arXiv 2310.03744)."""

    def __init__(self, in_dim: int, out_dim: int, *, bias: bool = True) -> None:
        super().__init__(in_dim, out_dim, bias=bias)
        self.linear_1 = nn.Linear(in_dim, out_dim, bias=bias)
        self.linear_2 = nn.Linear(out_dim, out_dim, bias=bias)

    def out_len(self, length: int) -> int:
        """Return `length`: one token per step."""
        return length

    def transform_steps(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Project each step by itself."""
        return self.linear_2(nn.functional.gelu(self.linear_1(x))), mask

    @property
    def last(self) -> nn.Linear:
        """The second linear layer."""
        return self.linear_2
