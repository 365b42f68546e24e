"""Define the adapter `qformer`: learned queries read the steps through a small BERT, as in BLIP-2."""

from __future__ import annotations

import torch
from torch import nn

from .attention import attend, expand_row_mask
from .base import Adapter


class QFormer(Adapter):
    """A small BERT whose learned queries attend to the steps in every other layer (Li et al. 2023, arXiv 2301.12597).

    queries   number of tokens, whatever the number of steps
    width     width of the hidden states
    depth     number of layers; each `every`-th of them attends to the features, the first among them
    heads     attention heads, a divisor of `width`
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        queries: int = 32,
        width: int = 768,
        depth: int = 2,
        heads: int = 12,
        every: int = 2,
    ) -> None:
        super().__init__(in_dim, out_dim, queries=queries, width=width, depth=depth, heads=heads, every=every)
        if width % heads:
            raise ValueError(f"expected heads that divide width, got {heads = } and {width = }")
        # 0.02 is BERT's initializer_range.
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02)
        self.norm = _norm(width)
        # BLIP-2 reads the features in every other layer only (cross_attention_frequency = 2).
        self.layers = nn.ModuleList(_Layer(width, heads, in_dim if i % every == 0 else 0) for i in range(depth))
        self.linear = nn.Linear(width, out_dim)

    def out_len(self, length: int) -> int:
        """Return the number of queries, whatever `length` is."""
        return len(self.queries)

    def transform_steps(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Read all steps with the queries."""
        # (B, Q, width); expand copies nothing, all rows begin with the same queries.
        states = self.norm(self.queries).expand(len(x), -1, -1)
        for layer in self.layers:
            states = layer(states, x, mask)
        return self.linear(states), expand_row_mask(mask, len(self.queries))

    @property
    def last(self) -> nn.Linear:
        """The linear layer to the width of the language model."""
        return self.linear


class _Attention(nn.Module):
    """Attention, a residual sum, then the norm: BERT's order."""

    def __init__(self, dim: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(context, dim), nn.Linear(context, dim)
        self.out, self.norm = nn.Linear(dim, dim), _norm(dim)

    def forward(self, x: torch.Tensor, context: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Attend from x (B, Q, D) to context (B, T, C) under mask (B, T). Returns (B, Q, D)."""
        found = attend(self.q(x), self.k(context), self.v(context), self.heads, mask)
        return self.norm(x + self.out(found))  # type: ignore[no-any-return]


class _Layer(nn.Module):
    """One layer of the BERT. `context`: width of the features it attends to, 0 where it does not."""

    def __init__(self, dim: int, heads: int, context: int) -> None:
        super().__init__()
        self.own = _Attention(dim, dim, heads)
        self.cross = _Attention(dim, context, heads) if context else None
        self.up, self.down, self.norm = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim), _norm(dim)

    def forward(self, states: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Update the states (B, Q, D)."""
        # The queries need no mask among themselves: all of them are always there.
        states = self.own(states, states)
        if self.cross is not None:
            states = self.cross(states, context, mask)
        return self.norm(states + self.down(nn.functional.gelu(self.up(states))))  # type: ignore[no-any-return]


def _norm(dim: int) -> nn.LayerNorm:
    # BERT's epsilon, not torch's 1e-5.
    return nn.LayerNorm(dim, eps=1e-12)
