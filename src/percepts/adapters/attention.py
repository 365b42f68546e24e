"""Queries, keys and values of several heads, some keys masked; a row whose keys are all masked stays finite."""

from __future__ import annotations

import torch
from torch import nn


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """(B, Q, H * D), (B, K, H * D) twice, (B, K) bool True where a key counts, to (B, Q, H * D)."""
    q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (q, k, v))  # (B, H, T, D)
    seen = None if mask is None else (mask | ~mask.any(dim=1, keepdim=True))[:, None, None, :]
    return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(2)


def expand_row_mask(mask: torch.Tensor, count: int) -> torch.Tensor:
    """(B, T) to (B, count): all of a row's tokens count where any of its steps does."""
    return mask.any(dim=1, keepdim=True).expand(-1, count)
