"""`qformer`: learned queries, a small BERT that looks at the steps in every other layer, a linear layer: BLIP-2's."""

from __future__ import annotations

import torch
from torch import nn

from .attention import attend, expand_row_mask
from .base import Adapter


class QFormer(Adapter):
    """Li et al. 2023 (arXiv 2301.12597).

    queries   tokens out, whatever goes in
    width     numbers inside
    depth     layers; each `every`-th looks at the features, the first among them
    heads     of the attention, a divisor of `width`
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
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02)
        self.norm = _norm(width)
        self.layers = nn.ModuleList(_Layer(width, heads, in_dim if i % every == 0 else 0) for i in range(depth))
        self.linear = nn.Linear(width, out_dim)

    def out_len(self, length: int) -> int:
        """Always the number of queries."""
        return len(self.queries)

    def transform_steps(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All steps into the queries."""
        states = self.norm(self.queries).expand(len(x), -1, -1)
        for layer in self.layers:
            states = layer(states, x, mask)
        return self.linear(states), expand_row_mask(mask, len(self.queries))

    @property
    def last(self) -> nn.Linear:
        """The one to the language model's width."""
        return self.linear


class _Attention(nn.Module):
    """Attention, then the sum with what came, normed after: BERT's order."""

    def __init__(self, dim: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(context, dim), nn.Linear(context, dim)
        self.out, self.norm = nn.Linear(dim, dim), _norm(dim)

    def forward(self, x: torch.Tensor, context: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(B, Q, D), (B, T, C), (B, T) to (B, Q, D)."""
        found = attend(self.q(x), self.k(context), self.v(context), self.heads, mask)
        return self.norm(x + self.out(found))  # type: ignore[no-any-return]


class _Layer(nn.Module):
    """`context`: the width of the features it looks at, 0 where it does not."""

    def __init__(self, dim: int, heads: int, context: int) -> None:
        super().__init__()
        self.own = _Attention(dim, dim, heads)
        self.cross = _Attention(dim, context, heads) if context else None
        self.up, self.down, self.norm = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim), _norm(dim)

    def forward(self, states: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, Q, D) to (B, Q, D)."""
        states = self.own(states, states)
        if self.cross is not None:
            states = self.cross(states, context, mask)
        return self.norm(states + self.down(nn.functional.gelu(self.up(states))))  # type: ignore[no-any-return]


def _norm(dim: int) -> nn.LayerNorm:
    return nn.LayerNorm(dim, eps=1e-12)
