"""Compute multi-head attention with masked keys for the adapters."""

from __future__ import annotations

import torch
from torch import nn


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Attend from queries to keys and values with several heads; masked keys do not count.

    q (B, Q, H * D), k and v (B, K, H * D), mask (B, K) bool, True where a key counts. Returns (B, Q, H * D). A row
    whose keys are all masked attends to all of them, so it stays finite; its tokens are masked later.
    """
    q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (q, k, v))  # (B, H, T, D)
    # Softmax over no key at all is NaN, which would reach the gradients of the whole batch.
    seen = None if mask is None else (mask | ~mask.any(dim=1, keepdim=True))[:, None, None, :]
    return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(2)


def expand_row_mask(mask: torch.Tensor, count: int) -> torch.Tensor:
    """Return (B, count) bool from (B, T) bool: all tokens of a row count if any of its steps does."""
    return mask.any(dim=1, keepdim=True).expand(-1, count)
