"""Fit the weights of a head to vectors and labels: with scikit-learn in memory, else with torch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

Weights = dict[str, np.ndarray]
"""mean and scale (D,), then `0.weight` (H, D), `0.bias` and so on: what `percepts.encoders.builtin.head.forward`
reads."""

HIDDEN = 256
STEP_ROWS = 65_536  # rows at a time over which mean and deviation are summed


@dataclass(frozen=True, slots=True)
class FitterSettings:
    """The settings of every fitter: the fields of `percepts.training.heads.HeadOptions` of the same names."""

    task: str
    strength: float
    seed: int
    in_memory: int


def fit_logistic(
    data: np.ndarray, chosen: np.ndarray, truth: np.ndarray, owner: np.ndarray, settings: FitterSettings
) -> Weights:
    """Fit a logistic regression: one over all labels, or one for each label where several may hold."""
    rows = np.flatnonzero(chosen)
    if data.nbytes > settings.in_memory:
        return fit_network(data, chosen, truth, owner, settings, hidden=0)
    from sklearn.linear_model import LogisticRegression

    mean, scale = _mean_and_deviation(data, rows)
    x, y = (data[rows] - mean) / scale, truth[owner[rows]]

    def fit(target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # lbfgs may need more than its default of 100 steps on a thousand features.
        model = LogisticRegression(C=REACH / settings.strength, max_iter=2000).fit(x, target)
        return model.coef_, model.intercept_

    if settings.task == "single" and y.any(axis=0).sum() == 1:  # a training set of one label says that one
        return _name_weights(mean, scale, np.zeros((y.shape[1], x.shape[1])), np.where(y[0], 0.0, -30.0))
    if settings.task == "single":
        return _name_weights(mean, scale, *_one_row_per_label(*fit(y.argmax(axis=1)), y))
    constant = np.array([-30.0, 30.0])  # of a label that none or all of the training sources have
    parts = [fit(c) if 0 < c.sum() < len(c) else (np.zeros((1, x.shape[1])), constant[[int(c.all())]]) for c in y.T]
    return _name_weights(mean, scale, np.concatenate([w for w, _ in parts]), np.concatenate([b for _, b in parts]))


REACH = 0.03
"""C of scikit-learn at strength 1: the best of 0.001 to 0.1 on spoken digits with each speaker held out."""


def fit_network(
    data: np.ndarray, chosen: np.ndarray, truth: np.ndarray, owner: np.ndarray, settings: FitterSettings, *, hidden: int
) -> Weights:
    """Fit a network with no or one hidden layer, in batches with torch: the vectors may be mapped from a file."""
    import torch

    from .loop import fit
    from .plan import Plan

    rows = np.flatnonzero(chosen)
    mean, scale = _mean_and_deviation(data, rows)
    torch.manual_seed(settings.seed)
    sizes = [data.shape[1], *([hidden] if hidden else []), truth.shape[1]]
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(sizes)]
    # The last ReLU and Dropout are cut off: scores may be negative.
    between = [part for layer in layers for part in (layer, torch.nn.ReLU(), torch.nn.Dropout(0.3))][:-2]
    model = torch.nn.Sequential(*between)
    target = torch.from_numpy(truth[owner[rows]].astype(np.float32))
    measure = torch.nn.functional.cross_entropy if settings.task == "single" else _binary_loss

    def loss(batch: Sequence[int], _: torch.Generator) -> torch.Tensor:
        # In the order of the file: reading a map backwards and forwards is slow. The targets are sorted alike.
        x = torch.from_numpy((data[np.sort(rows[batch])] - mean) / scale)
        return measure(model(x), target[np.sort(batch)])

    decay = 0.01 * settings.strength
    # No validation, because a fold has no third part to stop by.
    plan = Plan(epochs=30, batch_size=64, lr=1e-3, weight_decay=decay, every=10**9, seed=settings.seed)
    with tempfile.TemporaryDirectory() as folder:
        # In a folder that is deleted: a fit of seconds is not resumed.
        fit(model, loss, len(rows), plan, folder, settings={})
    pairs = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers]
    return _name_weights(mean, scale, *(part for pair in pairs for part in pair))


def _binary_loss(scores: Any, target: Any) -> Any:
    import torch

    return torch.nn.functional.binary_cross_entropy_with_logits(scores, target)


def _mean_and_deviation(data: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation (D,) float32 of these rows, summed in float64; the deviation of a constant is 1."""
    parts = np.array_split(rows, max(1, -(-len(rows) // STEP_ROWS)))
    # Two passes: the difference of squares loses all digits where the deviation is small beside the mean.
    mean = sum(data[part].sum(axis=0, dtype=np.float64) for part in parts) / len(rows)
    square = sum(np.square(data[part] - mean).sum(axis=0, dtype=np.float64) for part in parts) / len(rows)
    scale = np.sqrt(square)
    return mean.astype(np.float32), np.where(scale > 1e-6, scale, 1).astype(np.float32)


def _one_row_per_label(weight: np.ndarray, bias: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a row for each label: scikit-learn gives one for two classes, and none for an unseen class."""
    if len(weight) == 1:
        # Halves of opposite sign: the softmax over two is then the sigmoid of the one.
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    seen = np.flatnonzero(truth.any(axis=0))
    # exp(-30) is 1e-13: an unseen label is never said, and no infinity is stored.
    whole = np.zeros((truth.shape[1], weight.shape[1])), np.full(truth.shape[1], -30.0)
    whole[0][seen], whole[1][seen] = weight, bias
    return whole


def _name_weights(mean: np.ndarray, scale: np.ndarray, *layers: np.ndarray) -> Weights:
    pairs = zip(layers[::2], layers[1::2], strict=True)
    named = {f"{i}.{part}": w for i, pair in enumerate(pairs) for part, w in zip(("weight", "bias"), pair, strict=True)}
    return {"mean": mean, "scale": scale} | {name: w.astype(np.float32) for name, w in named.items()}


FITTERS: Mapping[str, Callable[..., Weights]] = {"linear": fit_logistic, "mlp": partial(fit_network, hidden=HIDDEN)}
"""Kind of head → how it is fitted."""
