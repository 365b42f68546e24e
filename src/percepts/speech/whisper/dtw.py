"""Find when each token was said by dynamic time warping of the decoder's cross-attention.

The method of openai/whisper's timing.py, in numpy: a matrix of 224 tokens and 1500 frames takes about 20 ms.
"""

from __future__ import annotations

import numpy as np

WIDTH = 7
"""Width of the median filter in frames; openai/whisper's medfilt_width."""


def align_tokens(attention: np.ndarray, rows: range) -> tuple[np.ndarray, np.ndarray]:
    """Return the path (tokens, frames) through `rows` of (H, N, F) attention scores that are not yet probabilities.

    The heads are brought to one scale (softmax over the frames, then zero mean and unit variance over all tokens),
    smoothed along the frames, and averaged.
    """
    raised = np.exp(attention - attention.max(axis=-1, keepdims=True))
    weights = raised / raised.sum(axis=-1, keepdims=True)
    spread = weights.std(axis=1, keepdims=True)
    # A head that treats all tokens alike has no variance: 1e-12 avoids a division by zero.
    weights = (weights - weights.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-12)
    return find_cheapest_path(-median_filter(weights, WIDTH).mean(axis=0)[rows.start : rows.stop])


def median_filter(values: np.ndarray, width: int) -> np.ndarray:
    """Replace each value by the median of its neighbourhood along the last axis, mirrored at the ends.

    An axis too short to be mirrored is returned as it is.
    """
    half = width // 2
    if values.shape[-1] <= half:
        return values
    # openai/whisper mirrors the ends, too; zeros would pull the median down.
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(half, half)], mode="reflect")
    medians: np.ndarray = np.median(np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1), axis=-1)
    return medians


def find_cheapest_path(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of the cheapest path from corner to corner of an (N, F) matrix of costs.

    Each rises by at most one per step. Of equally cheap steps, the one along the frames is taken.

    >>> rows, columns = find_cheapest_path(np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]))
    >>> rows.tolist(), columns.tolist()
    ([0, 0, 1], [0, 1, 2])
    """
    n, m = cost.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    steps = np.full((n + 1, m + 1), _LEFT, np.int8)
    steps[1:, 0] = _UP
    # Cells of an anti-diagonal do not depend on each other, so numpy computes them at once.
    for diagonal in range(2, n + m + 1):
        i = np.arange(max(1, diagonal - m), min(n, diagonal - 1) + 1)
        j = diagonal - i
        across, up, left = total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]
        way = np.where((across < up) & (across < left), _ACROSS, np.where((up < across) & (up < left), _UP, _LEFT))
        total[i, j] = cost[i - 1, j - 1] + np.minimum(np.minimum(across, up), left)
        steps[i, j] = way
    return _trace_back(steps)


_ACROSS, _UP, _LEFT = 0, 1, 2


def _trace_back(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Follow the steps from the last corner back to the first."""
    i, j = steps.shape[0] - 1, steps.shape[1] - 1
    path = []
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        way = steps[i, j]
        i, j = i - (way != _LEFT), j - (way != _UP)
    rows, columns = np.array(path[::-1]).T
    return rows, columns
