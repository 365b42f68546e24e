"""Rows to columns, one to one, at the highest sum: who of these is who of those."""

from __future__ import annotations

import numpy as np


def max_weight_matching(gain: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (row, column) whose gains have the highest possible sum, no row and no column twice, by row.

    The Hungarian method by shortest augmenting paths (Jonker and Volgenant 1987), in O(n² m). Of an (n, m) matrix
    min(n, m) pairs are given.

    Raises ValueError for anything but a matrix of finite numbers.

    >>> best_pairs(np.array([[3.0, 2.0], [2.5, 0.0]]))
    [(0, 1), (1, 0)]
    """
    if gain.ndim != 2 or not np.isfinite(gain).all():
        raise ValueError(f"expected a matrix of finite numbers, got {gain.dtype}{list(gain.shape)}")
    if gain.shape[0] > gain.shape[1]:
        return sorted((row, column) for column, row in max_weight_matching(gain.T))
    owner = _match_columns(-gain.astype(np.float64))
    return sorted((int(row), column) for column, row in enumerate(owner) if row >= 0)


def _match_columns(cost: np.ndarray) -> np.ndarray:
    """The row of each column, -1 for none, at the lowest cost; (n, m) with n <= m."""
    n, m = cost.shape
    of_row, of_column = np.zeros(n), np.zeros(m + 1)  # potentials; column m stands for the row that looks for one
    owner = np.full(m + 1, -1)
    for row in range(n):
        owner[m], column = row, m
        least, before = np.full(m, np.inf), np.full(m, m)
        done = np.zeros(m + 1, bool)
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
        while column != m:
            owner[column], column = owner[before[column]], before[column]
    result: np.ndarray = owner[:m]
    return result
