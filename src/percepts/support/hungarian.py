"""Match rows to columns one to one so that the sum of their weights is highest (the assignment problem)."""

from __future__ import annotations

import numpy as np


def max_weight_matching(gain: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs (row, column), sorted by row, whose weights have the highest possible sum; none comes twice.

    The Hungarian method by shortest augmenting paths (Jonker and Volgenant 1987), in O(n² m). An (n, m) matrix gives
    min(n, m) pairs.

    Raises ValueError for anything but a matrix of finite numbers.

    >>> max_weight_matching(np.array([[3.0, 2.0], [2.5, 0.0]]))
    [(0, 1), (1, 0)]
    """
    if gain.ndim != 2 or not np.isfinite(gain).all():
        raise ValueError(f"expected a matrix of finite numbers, got {gain.dtype}{list(gain.shape)}")
    if gain.shape[0] > gain.shape[1]:  # the algorithm below needs at least as many columns as rows
        return sorted((row, column) for column, row in max_weight_matching(gain.T))
    # The least cost of the negated weights is their highest sum.
    owner = _match_columns(-gain.astype(np.float64))
    return sorted((int(row), column) for column, row in enumerate(owner) if row >= 0)


def _match_columns(cost: np.ndarray) -> np.ndarray:
    """Return the row of each column, -1 for none, at the lowest total cost of an (n, m) matrix with n <= m."""
    n, m = cost.shape
    of_row, of_column = np.zeros(n), np.zeros(m + 1)  # potentials; column m is a dummy for the row to be matched
    owner = np.full(m + 1, -1)
    for row in range(n):
        owner[m], column = row, m
        least, before = np.full(m, np.inf), np.full(m, m)
        done = np.zeros(m + 1, bool)
        # Dijkstra over reduced costs, to the nearest column without a row.
        while owner[column] >= 0:
            done[column] = True
            here = owner[column]
            reduced = cost[here] - of_row[here] - of_column[:m]
            shorter = ~done[:m] & (reduced < least)
            least[shorter], before[shorter] = reduced[shorter], column
            free = np.where(done[:m], np.inf, least)
            following = int(free.argmin())
            step = free[following]
            of_row[owner[done]] += step
            of_column[done] -= step
            least[~done[:m]] -= step
            column = following
        # Shift the rows along the path that was found.
        while column != m:
            owner[column], column = owner[before[column]], before[column]
    result: np.ndarray = owner[:m]
    return result
