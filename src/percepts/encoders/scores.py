"""Turn the scores of labels, and the cosines of a shared space, into probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from ..weights.checkpoint import Checkpoint


def softmax(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return probabilities of which one is right; computed in float64."""
    # The largest score is taken off first, or exp would overflow.
    wide = np.exp(scores.astype(np.float64) - scores.max(axis=axis, keepdims=True))
    return np.asarray(wide / wide.sum(axis=axis, keepdims=True), dtype=np.float32)


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """Return a probability of each score by itself; computed in float64."""
    # By tanh, which does not overflow where exp(-x) does.
    return np.asarray(0.5 * (1 + np.tanh(scores.astype(np.float64) / 2)), dtype=np.float32)


def scores_to_probabilities(scores: np.ndarray, multi: bool) -> np.ndarray:
    """Return probabilities of (B, N) scores of labels: each by itself where several may be right, else of the one."""
    return sigmoid(scores) if multi else softmax(scores)


@dataclass(frozen=True, slots=True)
class LogitScale:
    """logit = scale * cosine + bias, as the model was trained to compare text with media.

    each   its training judged every pair by itself (a sigmoid, as SigLIP); else one text against the others (a softmax)
    """

    scale: float
    bias: float = 0.0
    sigmoid: bool = False

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, scale: str, bias: str = "") -> LogitScale:
        """Read the scale and bias from a checkpoint, which keeps the logarithm of the scale. One absent counts as 0."""
        found = checkpoint.read_scalar(scale) or 0.0
        return cls(math.exp(found), (checkpoint.read_scalar(bias) or 0.0) if bias else 0.0, bool(bias))

    def probabilities(self, cosines: np.ndarray, axis: int = -1) -> np.ndarray:
        """Return how likely the model holds each text to be, with the texts along `axis`."""
        scores = self.scale * cosines.astype(np.float64) + self.bias
        return sigmoid(scores) if self.sigmoid else softmax(scores, axis)


@runtime_checkable
class ScoresText(Protocol):
    """An encoder of media and text into one space that also knows what their cosines mean."""

    @property
    def logit_scale(self) -> LogitScale:
        """Scale and bias that turn cosines into probabilities."""

    @property
    def template(self) -> str:
        """Words that stood around a label in training, with {} for the label."""
