"""Define the adapter `linear`: LayerNorm, then one linear layer; one token per step."""

from __future__ import annotations

import torch
from torch import nn

from .base import Adapter


class Linear(Adapter):
    """LayerNorm → Linear. With `norm=False` it is the projector of LLaVA 1.0 and of Qwen2-Audio."""

    def __init__(self, in_dim: int, out_dim: int, *, norm: bool = True, bias: bool = True) -> None:
        super().__init__(in_dim, out_dim, norm=norm, bias=bias)
        # Encoders differ in scale by orders of magnitude; the norm makes one learning rate fit them all.
        self.norm = nn.LayerNorm(in_dim) if norm else nn.Identity()
        self.linear = nn.Linear(in_dim, out_dim, bias=bias)

    def out_len(self, length: int) -> int:
        """Return `length`: one token per step."""
        return length

    def transform_steps(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Project each step by itself."""
        return self.linear(self.norm(x)), mask

    @property
    def last(self) -> nn.Linear:
        """The only linear layer."""
        return self.linear
