"""Measure how good a classifier is from true labels and probabilities. Needs scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Metrics:
    """How good the predictions for `count` examples are.

    accuracy   share of right answers; with several labels, share of examples with every label right
    f1         macro: the mean over classes
    mean_average_precision   over classes that occur; NaN where none does
    confusion  (C, C) counts, rows true, columns predicted; None where several labels may hold
    """

    count: int
    accuracy: float
    f1: float
    mean_average_precision: float
    confusion: np.ndarray | None


def measure_predictions(truth: np.ndarray, probabilities: np.ndarray) -> Metrics:
    """Compare (N, C) bool with (N, C) probabilities.

    With one true label a row, the answer is the label of the highest probability, else every label above 0.5.

    >>> found = measure_predictions(np.eye(3, dtype=bool), np.float32([[.8, .1, .1], [.2, .7, .1], [.6, .3, .1]]))
    >>> round(found.accuracy, 3), found.confusion.tolist()
    (0.667, [[1, 0, 0], [0, 1, 0], [1, 0, 0]])
    """
    from sklearn.metrics import average_precision_score, confusion_matrix, f1_score

    single = bool((truth.sum(axis=1) == 1).all())
    said = probabilities > 0.5
    if single:
        said = np.arange(truth.shape[1]) == probabilities.argmax(axis=1)[:, None]
    # Average precision is not defined for a class that does not occur.
    occurs = truth.any(axis=0)
    precise = [average_precision_score(truth[:, c], probabilities[:, c]) for c in np.flatnonzero(occurs)]
    classes = np.arange(truth.shape[1])
    return Metrics(
        count=len(truth),
        accuracy=float((said == truth).all(axis=1).mean()),
        f1=float(f1_score(truth, said, average="macro", labels=np.flatnonzero(occurs), zero_division=0)),
        mean_average_precision=float(np.mean(precise)) if precise else float("nan"),
        confusion=confusion_matrix(truth.argmax(1), said.argmax(1), labels=classes) if single else None,
    )
