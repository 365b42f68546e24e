"""Pool features into one vector each. Steps outside the mask do not count."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..types import Encoder, Features, Inputs, Pooler


def mean(frames: Features) -> np.ndarray:
    """Return the mean of the steps that count, summed in float64; zeros where none does."""
    if frames.data.shape[1] == 1:  # what most encoders of pictures give; the sum of one is itself
        return np.where(frames.mask, frames.data[:, 0], np.float32(0))
    total = frames.data.sum(axis=1, dtype=np.float64, where=frames.mask[..., None])
    return np.asarray(total / np.maximum(frames.mask.sum(axis=1, keepdims=True), 1), dtype=np.float32)


def l2mean(frames: Features) -> np.ndarray:
    """Return the mean scaled to length one; zeros stay zeros."""
    return normalise(mean(frames))


def first(frames: Features) -> np.ndarray:
    """Return the first step, which is the class token of models that have one."""
    # A copy: a view would keep all T steps in memory.
    return np.ascontiguousarray(frames.data[:, 0])


def l2first(frames: Features) -> np.ndarray:
    """Return the first step scaled to length one."""
    return normalise(first(frames))


def concat(frames: Features) -> np.ndarray:
    """Return all T steps one after the other, (B, T * D); masked steps are zeros."""
    # Zeros, and not left out, so that every vector has T * D numbers.
    return np.where(frames.mask[..., None], frames.data, np.float32(0)).reshape(len(frames.data), -1)


def maximum(frames: Features) -> np.ndarray:
    """Return the largest number of the steps that count in each dimension; zeros where none does."""
    # Masked steps become -inf, which loses against any number.
    held = np.where(frames.mask[..., None], frames.data, np.float32(-np.inf)).max(axis=1)
    return np.where(np.isneginf(held), np.float32(0), held)


POOLERS: Mapping[str, Pooler] = {
    "mean": mean, "l2mean": l2mean, "cls": first, "l2cls": l2first, "concat": concat, "max": maximum,
}  # fmt: skip


def pool(frames: Features, name: str) -> np.ndarray:
    """Pool (B, T, D) features by the name of a pooler, as in `Spec.pool`. ValueError for an unknown one."""
    if name not in POOLERS:
        raise ValueError(f"expected a pooling of {', '.join(POOLERS)}, got {name!r}")
    return POOLERS[name](frames)


def encode_vectors(encoder: Encoder, inputs: Inputs) -> np.ndarray:
    """Return (B, D) vectors of prepared inputs: the pooled features, by a shorter way where the encoder has one."""
    short = getattr(encoder, "vectors", None)  # not asked of an Encoder; ClassTokenModel has it
    found: np.ndarray = short(inputs) if short else pool(encoder.encode(inputs), encoder.spec.pool)
    return found


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Return (B, D) float32 vectors scaled to length one, computed in float64; zeros stay zeros."""
    wide = vectors.astype(np.float64)
    norms = np.sqrt((wide * wide).sum(axis=-1, keepdims=True))
    return np.asarray(wide / np.where(norms > 0, norms, 1), dtype=np.float32)
