"""Define the adapter `perceiver`: a fixed number of learned latents read any number of steps (Flamingo's resampler)."""

from __future__ import annotations

import torch
from torch import nn

from .attention import attend, expand_row_mask
from .base import Adapter


class Perceiver(Adapter):
    """Alayrac et al. 2022 (arXiv 2204.14198), in the form of Idefics: latents attend to the steps and to themselves.

    latents          number of tokens, whatever the number of steps
    depth            blocks of attention and MLP
    heads, head_dim  of the attention
    """

    def __init__(
        self, in_dim: int, out_dim: int, *, latents: int = 64, depth: int = 2, heads: int = 8, head_dim: int = 64
    ) -> None:
        super().__init__(in_dim, out_dim, latents=latents, depth=depth, heads=heads, head_dim=head_dim)
        self.latents = nn.Parameter(torch.randn(latents, in_dim))
        self.blocks = nn.ModuleList(_Block(in_dim, heads, head_dim) for _ in range(depth))
        self.norm = nn.LayerNorm(in_dim)
        self.linear = nn.Linear(in_dim, out_dim)

    def out_len(self, length: int) -> int:
        """Return the number of latents, whatever `length` is."""
        return len(self.latents)

    def transform_steps(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Read all steps with the latents."""
        # (B, L, D); expand copies nothing.
        latents = self.latents.expand(len(x), -1, -1)
        for block in self.blocks:
            latents = block(x, mask, latents)
        return self.linear(self.norm(latents)), expand_row_mask(mask, len(self.latents))  # (B, L, out_dim), (B, L)

    @property
    def last(self) -> nn.Linear:
        """The linear layer to the width of the language model."""
        return self.linear


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, inner = heads, heads * head_dim
        self.norm_context, self.norm_latents = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.q, self.k, self.v = (nn.Linear(dim, inner, bias=False) for _ in range(3))
        self.out = nn.Linear(inner, dim, bias=False)
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim, bias=False), nn.ReLU(), nn.Linear(4 * dim, dim, bias=False)
        )

    def forward(self, context: torch.Tensor, mask: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """Update the latents (B, L, D) from context (B, T, D) under mask (B, T)."""
        normed = self.norm_latents(latents)
        # Flamingo's latents are among the keys, so one attention does for both.
        keys = torch.cat([self.norm_context(context), normed], dim=1)
        # Latents are never masked, so no row of the attention is empty, even where all steps are.
        seen = torch.cat([mask, mask.new_ones(normed.shape[:2])], dim=1)
        latents = latents + self.out(attend(self.q(normed), self.k(keys), self.v(keys), self.heads, seen))
        return latents + self.mlp(latents)  # type: ignore[no-any-return]
