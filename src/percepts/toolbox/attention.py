"""Compute attention at less cost: linear in the length with kernels, or exact softmax in little memory.

Queries and keys are (…, N, D), values (…, M, V), as in scaled_dot_product_attention.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

Tensor = torch.Tensor
FeatureMap = Callable[[Tensor], Tensor]
"""(…, N, D) to (…, N, F), nothing negative: the similarity of a query and a key is the product of their features."""


def elu_plus_one(x: Tensor) -> Tensor:
    """Return elu(x) + 1, the feature map of Linear Transformers (Katharopoulos et al. 2020, arXiv 2006.16236)."""
    return torch.nn.functional.elu(x) + 1


def favor_plus(dim: int, features: int, *, seed: int = 0, orthogonal: bool = True) -> FeatureMap:
    """Make positive random features whose products are exp(q·k / √dim) on average: Performers (arXiv 2009.14794).

    The error falls as 1 / √features. Orthogonal directions, drawn in blocks of `dim`, have a smaller one.
    """
    generator = torch.Generator().manual_seed(seed)
    blocks = [torch.randn(dim, dim, generator=generator, dtype=torch.float64) for _ in range(-(-features // dim))]
    if orthogonal:
        blocks = [_draw_orthogonal(block) * _draw_norms(dim, generator)[:, None] for block in blocks]
    # The last block is cut where `features` is no multiple of `dim`.
    directions = torch.cat(blocks)[:features]  # (F, D)

    def phi(x: Tensor) -> Tensor:
        # The fourth root on both sides gives q·k / √dim in the product.
        x = x / dim**0.25
        along = x @ directions.to(x).T
        # exp keeps every feature positive; with sin and cos a sum comes close to zero and training is unstable.
        return torch.exp(along - x.square().sum(-1, keepdim=True) / 2) / math.sqrt(features)

    return phi


def _draw_orthogonal(block: Tensor) -> Tensor:
    """Return rows of length one, uniform over all rotations: QR picks signs that would leave a bias."""
    q, r = torch.linalg.qr(block)
    # With R's diagonal made positive Q is uniform (Mezzadri 2007, arXiv math-ph/0609050).
    turned: Tensor = (q * r.diagonal().sign()).T
    return turned


def _draw_norms(dim: int, generator: torch.Generator) -> Tensor:
    """Return the norms of `dim` Gaussian vectors: scaled by them, orthogonal directions are Gaussian, too."""
    drawn = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    return drawn.square().sum(dim=1).sqrt()


def linear_attention(
    q: Tensor, k: Tensor, v: Tensor, *, phi: FeatureMap = elu_plus_one, causal: bool = False
) -> Tensor:
    """Compute Σⱼ φ(qᵢ)·φ(kⱼ) vⱼ / Σⱼ φ(qᵢ)·φ(kⱼ) in time and memory linear in the length.

    Equals `quadratic_attention` with the same φ. `causal`: j up to i.
    """
    _check_shapes(q, k, v, causal)
    q, k = phi(q), phi(k)
    if causal:
        return _attend_causally(q, k, v)
    state, total = k.transpose(-1, -2) @ v, k.sum(-2)  # (…, F, V), (…, F)
    # The sum over keys is common to all queries, so it is taken once: that is what makes it linear.
    return torch.div(q @ state, q @ total[..., None])


CHUNK = 64
"""Positions at a time where it is causal: squares of that size, and one state between them."""


def _attend_causally(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    state = q.new_zeros(*q.shape[:-2], q.shape[-1], v.shape[-1])
    total = q.new_zeros(*q.shape[:-2], q.shape[-1], 1)
    out = []
    for first in range(0, q.shape[-2], CHUNK):
        part = slice(first, first + CHUNK)
        a, b, c = q[..., part, :], k[..., part, :], v[..., part, :]
        # Inside a chunk pairs are computed one by one; all earlier keys are in `state`.
        inside = (a @ b.transpose(-1, -2)).tril()
        out.append((a @ state + inside @ c) / (a @ total + inside.sum(-1, keepdim=True)))
        state, total = state + b.transpose(-1, -2) @ c, total + b.sum(-2)[..., None]
    return torch.cat(out, -2)


def quadratic_attention(q: Tensor, k: Tensor, v: Tensor, *, phi: FeatureMap, causal: bool = False) -> Tensor:
    """Compute the same by its definition, with the matrix of all pairs."""
    _check_shapes(q, k, v, causal)
    pairs = phi(q) @ phi(k).transpose(-1, -2)
    pairs = pairs.tril() if causal else pairs
    return (pairs @ v) / pairs.sum(-1, keepdim=True)


def chunked_attention(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, q_chunk: int = 256, k_chunk: int = 1024
) -> Tensor:
    """Compute softmax attention exactly in little memory (Rabe & Staats, arXiv 2112.05682).

    q_chunk · k_chunk scores are in memory at a time. Chunks of keys are joined by their running maximum and sum, so
    nothing overflows and nothing is approximated.
    """
    _check_shapes(q, k, v, causal)
    if min(q_chunk, k_chunk) < 1:
        raise ValueError(f"expected chunks of at least 1, got {q_chunk = } {k_chunk = }")
    # Written in place: a list of chunks joined at the end would need twice the memory.
    out = q.new_empty(*q.shape[:-1], v.shape[-1])
    for first in range(0, q.shape[-2], q_chunk):
        part = q[..., first : first + q_chunk, :] / math.sqrt(q.shape[-1])
        out[..., first : first + q_chunk, :] = _attend_rows(part, k, v, k_chunk, first if causal else None)
    return out


def _attend_rows(q: Tensor, k: Tensor, v: Tensor, size: int, first: int | None) -> Tensor:
    """Attend from a few queries to all keys. `first`: number of the first query of causal attention, else None."""
    # -inf makes the factor of the first chunk exp(-inf) = 0, whatever is in the empty sums.
    top = q.new_full((*q.shape[:-1], 1), -torch.inf)
    total, value = torch.zeros_like(top), q.new_zeros(*q.shape[:-1], v.shape[-1])
    # No query of these may see a later key, so chunks of keys beyond them are never computed.
    end = k.shape[-2] if first is None else min(k.shape[-2], first + q.shape[-2])
    for start in range(0, end, size):
        scores = q @ k[..., start : min(end, start + size), :].transpose(-1, -2)
        if first is not None:
            at = torch.arange(start, start + scores.shape[-1], device=q.device)
            row = torch.arange(first, first + q.shape[-2], device=q.device)
            scores = scores.masked_fill(at > row[:, None], -torch.inf)
        # The running maximum of online softmax (Milakov & Gimelshein 2018, arXiv 1805.02867).
        new = torch.maximum(top, scores.amax(-1, keepdim=True))
        old = (top - new).exp()
        weights = (scores - new).exp()
        total = total * old + weights.sum(-1, keepdim=True)
        value = value * old + weights @ v[..., start : min(end, start + size), :]
        top = new
    return value / total


def _check_shapes(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> None:
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2] or (causal and q.shape[-2] != k.shape[-2]):
        raise ValueError(
            f"expected q (…, N, D), k (…, M, D), v (…, M, V){' with N = M' if causal else ''}, "
            f"got {list(q.shape)}, {list(k.shape)}, {list(v.shape)}"
        )
