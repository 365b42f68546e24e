from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from percepts.speech.whisper.dtw import align_tokens, find_cheapest_path, median_filter


def cheapest(cost: np.ndarray) -> float:
    """Return the cost of the cheapest of all paths."""
    n, m = cost.shape
    best = np.full((n, m), np.inf)
    for i, j in product(range(n), range(m)):
        before = [best[a, b] for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if a >= 0 and b >= 0]
        best[i, j] = cost[i, j] + (min(before) if before else 0.0)
    return float(best[-1, -1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 9), (9, 5), (12, 40)])
def test_the_path_is_the_cheapest_and_goes_from_corner_to_corner(shape: tuple[int, int]) -> None:
    cost = np.random.default_rng(sum(shape)).normal(size=shape)
    rows, columns = find_cheapest_path(cost)
    assert (rows[0], columns[0], rows[-1], columns[-1]) == (0, 0, shape[0] - 1, shape[1] - 1)
    steps = {(a, b) for a, b in zip(np.diff(rows).tolist(), np.diff(columns).tolist(), strict=True)}
    assert steps <= {(1, 1), (1, 0), (0, 1)}
    assert cost[rows, columns].sum() == pytest.approx(cheapest(cost))


def test_a_known_path_is_found_in_what_noisy_heads_look_at() -> None:
    rng = np.random.default_rng(0)
    starts = np.array([0, 12, 20, 41, 60, 88])  # frames in which each of five tokens and the end begin
    token = np.searchsorted(starts, np.arange(100), side="right") - 1
    looks = np.where(np.arange(6)[:, None] == token, 4.0, 0.0)
    attention = np.concatenate([rng.normal(size=(4, 3, 100)), looks + rng.normal(0, 0.5, (4, 6, 100))], axis=1)
    rows, columns = align_tokens(attention.astype(np.float32), range(3, 9))
    found = columns[np.diff(rows, prepend=-1) > 0]
    assert np.abs(found - starts).max() <= 2  # the median of seven frames moves an edge by less than half of it


def test_the_median_is_that_of_each_neighbourhood() -> None:
    values = np.random.default_rng(1).normal(size=(3, 20))
    padded = np.pad(values, ((0, 0), (3, 3)), mode="reflect")
    assert np.array_equal(median_filter(values, 7)[:, 5], np.median(padded[:, 5:12], axis=1))
    assert np.array_equal(median_filter(values[:, :3], 7), values[:, :3])
