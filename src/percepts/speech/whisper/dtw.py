"""How a decoder looks at the sound in, when each token was said out: dynamic time warping of cross-attention.

The way of openai/whisper's timing.py, in numpy: a matrix of 224 tokens and 1500 frames takes some 20 ms.
"""

from __future__ import annotations

import numpy as np

WIDTH = 7
"""Frames of the median filter."""


def align_tokens(attention: np.ndarray, rows: range) -> tuple[np.ndarray, np.ndarray]:
    """(H, N, F), what each head looks at, not yet probabilities, to the path of tokens and frames through `rows`.

    Heads are made alike (softmax over the frames, then zero mean and unit variance over all tokens), smoothed along the
    frames, and averaged.
    """
    raised = np.exp(attention - attention.max(axis=-1, keepdims=True))
    weights = raised / raised.sum(axis=-1, keepdims=True)
    spread = weights.std(axis=1, keepdims=True)
    weights = (weights - weights.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-12)
    return find_cheapest_path(-median_filter(weights, WIDTH).mean(axis=0)[rows.start : rows.stop])


def median_filter(values: np.ndarray, width: int) -> np.ndarray:
    """Of each value and its neighbours along the last axis, mirrored at the ends; fewer values than that stay."""
    half = width // 2
    if values.shape[-1] <= half:
        return values
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(half, half)], mode="reflect")
    found: np.ndarray = np.median(np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1), axis=-1)
    return found


def find_cheapest_path(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, F) to the cheapest path from corner to corner, as rows and columns; each rises by one at most a step.

    Of equal ways, the one that goes on along the frames is taken. A whole anti-diagonal is computed at once.

    >>> rows, columns = warp(np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]))
    >>> rows.tolist(), columns.tolist()
    ([0, 0, 1], [0, 1, 2])
    """
    n, m = cost.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    came = np.full((n + 1, m + 1), _LEFT, np.int8)
    came[1:, 0] = _UP
    for diagonal in range(2, n + m + 1):
        i = np.arange(max(1, diagonal - m), min(n, diagonal - 1) + 1)
        j = diagonal - i
        across, up, left = total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]
        way = np.where((across < up) & (across < left), _ACROSS, np.where((up < across) & (up < left), _UP, _LEFT))
        total[i, j] = cost[i - 1, j - 1] + np.minimum(np.minimum(across, up), left)
        came[i, j] = way
    return _trace_back(came)


_ACROSS, _UP, _LEFT = 0, 1, 2


def _trace_back(came: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    i, j = came.shape[0] - 1, came.shape[1] - 1
    path = []
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        way = came[i, j]
        i, j = i - (way != _LEFT), j - (way != _UP)
    rows, columns = np.array(path[::-1]).T
    return rows, columns
