"""Vectors of short stretches in, one label each out: which of them are the same voice, however many there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAMPLED = 384  # vectors that the count is found on: its cost is that many cubed, for each neighbourhood tried
STEPS = 16  # neighbourhood sizes tried
TRIALS = 10  # of k-means, from fixed seeds
FEW = 6  # below this there is no neighbourhood to speak of
# Windows overlap, so the nearest of each are its own neighbours in time; a neighbourhood of no more than those makes a
# voice of every sentence: with 2, none of six real voices alone (Free Spoken Digit Dataset) was found to be one; with
# 10 each was, and all of 48 mixtures of two to six of them were counted right.
FLOOR = 10
EACH = 5  # windows a voice must have where there are fewer than 30 in all


@dataclass(frozen=True, slots=True)
class SimilarityThresholds:
    """What cosines mean for one speaker encoder; measured, and of no use to another.

    apart  cosine distance (1 - cosine) between single windows from which on they are two voices, on average
    alike  cosine between the means of a few windows each from which on they are one voice
    same   cosine between the means of many windows each from which on they are one voice
    """

    apart: float
    alike: float
    same: float


@dataclass(frozen=True, slots=True)
class SpeakerCount:
    """How many voices there may be."""

    least: int = 1
    most: int = 20

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ValueError(f"expected 1 <= least <= most speakers, got {self.least} and {self.most}")


def cluster_speakers(
    vectors: np.ndarray, weights: np.ndarray, likeness: SimilarityThresholds, count: SpeakerCount, *, small: float
) -> np.ndarray:
    """(n, D) vectors of length one and their (n,) weights to (n,) labels 0 … k - 1, the first heard first.

    NME-SC (Park et al. 2019, arXiv 2003.02405): spectral clustering whose neighbourhood and number of clusters follow
    from the eigenvalues of the graph itself; average linkage for fewer than six vectors. Then each vector goes to the
    nearest mean, clusters lighter than `small` go to their nearest neighbour, and those that are one voice are made
    one, as long as `count` allows. Up to 384 vectors spread over all of them decide; memory is linear in n.
    """
    n = len(vectors)
    most, least = min(count.most, n), min(count.least, n)
    if most <= 1:
        return np.zeros(n, np.int64)
    chosen = np.unique(np.linspace(0, n - 1, min(n, SAMPLED)).round().astype(np.int64))
    some, many = vectors[chosen], len(chosen) >= 3 * FLOOR
    if len(some) < FEW:
        labels = cluster_by_linkage(some, weights[chosen], apart=likeness.apart, least=least, most=most)
    else:
        labels = cluster_spectral(some, least, most if many else max(least, min(most, n // EACH)))
    found = _find_nearest(vectors, mean_directions(some, weights[chosen], labels))
    one = likeness.same if many else likeness.alike
    return merge_small_clusters(vectors, weights, found, one, least, small=small)


def cluster_spectral(vectors: np.ndarray, least: int, most: int) -> np.ndarray:
    """(n, D) unit vectors to (n,) labels by NME-SC, with `least` to `most` clusters."""
    n = len(vectors)
    order = np.argsort(-(vectors @ vectors.T), axis=1, kind="stable")
    best: tuple[float, int, int] | None = None
    for p in np.unique(np.linspace(min(FLOOR, max(2, n // 3)), max(2, n // 3), STEPS).astype(int)):
        values = np.linalg.eigvalsh(_build_laplacian(order, p))
        gaps = np.diff(values[: most + 1])
        if len(gaps) < least:
            gaps = np.pad(gaps, (0, least - len(gaps)))
        k = int(gaps[least - 1 :].argmax()) + least
        ratio = p / n / max(gaps[k - 1] / max(values[-1], 1e-12), 1e-12)
        if best is None or ratio < best[0]:
            best = (ratio, int(p), k)
    assert best is not None
    _, p, k = best
    _, directions = np.linalg.eigh(_build_laplacian(order, p))
    return _run_k_means(directions[:, :k], k)


def _build_laplacian(order: np.ndarray, p: int) -> np.ndarray:
    """(n, n): of the graph that joins each to its p nearest, half where only one of two counts the other."""
    n = len(order)
    joined = np.zeros((n, n))
    joined[np.arange(n)[:, None], order[:, :p]] = 1.0
    joined = (joined + joined.T) / 2
    np.fill_diagonal(joined, 0.0)
    result: np.ndarray = np.diag(joined.sum(axis=1)) - joined
    return result


def _run_k_means(points: np.ndarray, k: int) -> np.ndarray:
    """(n, d) to (n,) labels: the best of several runs, each begun with points far from each other (k-means++)."""
    best, lowest = np.zeros(len(points), np.int64), np.inf
    for seed in range(TRIALS):
        centres = _choose_initial_centres(points, k, np.random.default_rng(seed))
        for _ in range(50):
            distance = _square_distances(points, centres)
            labels = distance.argmin(axis=1)
            filled = np.unique(labels)
            moved = centres.copy()
            moved[filled] = [points[labels == label].mean(axis=0) for label in filled]
            if np.array_equal(moved, centres):
                break
            centres = moved
        spread = float(distance.min(axis=1).sum())
        if spread < lowest:
            best, lowest = labels, spread
    return best


def _choose_initial_centres(points: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    centres = [points[rng.integers(len(points))]]
    for _ in range(k - 1):
        far = _square_distances(points, np.array(centres)).min(axis=1)
        total = far.sum()
        centres.append(points[rng.choice(len(points), p=far / total if total > 0 else None)])
    return np.array(centres)


def _square_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(n, d) and (k, d) to the (n, k) squares of the distances."""
    result: np.ndarray = np.square(points[:, None] - centres).sum(axis=2)
    return result


def cluster_by_linkage(
    vectors: np.ndarray, weights: np.ndarray, *, apart: float, least: int = 1, most: int = 0
) -> np.ndarray:
    """(n, D) unit vectors to (n,) labels: the two nearest groups are made one until all are `apart`.

    Average linkage over cosine distances, each vector counting by its weight. At least `least` groups are left, and no
    more than `most` (0: any number) even if they are apart. Memory is n².
    """
    n = len(vectors)
    distance = 1.0 - vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(distance, np.inf)
    mass = weights.astype(np.float64).copy()
    labels = np.arange(n)
    nearest = distance.argmin(axis=1) if n > 1 else np.zeros(n, np.int64)
    for left in range(n, max(least, 1), -1):
        ahead = distance[np.arange(n), nearest]
        i = int(ahead.argmin())
        j = int(nearest[i])
        if ahead[i] >= apart and not 0 < most < left:
            break
        joined = (mass[i] * distance[i] + mass[j] * distance[j]) / (mass[i] + mass[j])
        joined[[i, j]] = np.inf
        distance[i], distance[:, i] = joined, joined
        distance[j], distance[:, j] = np.inf, np.inf
        mass[i] += mass[j]
        labels[labels == j] = i
        stale = np.flatnonzero((nearest == i) | (nearest == j))
        nearest[stale] = distance[stale].argmin(axis=1)
        nearest[i] = distance[i].argmin()
        closer = joined < distance[np.arange(n), nearest]
        nearest[closer] = i
    return number_by_first_appearance(labels)


def merge_small_clusters(
    vectors: np.ndarray, weights: np.ndarray, labels: np.ndarray, same: float, least: int, *, small: float
) -> np.ndarray:
    """Clusters lighter than `small` go to their nearest, and those nearer than `same` are made one, down to `least`."""
    labels = number_by_first_appearance(labels)
    while labels.max(initial=0) + 1 > max(least, 1):
        centres = mean_directions(vectors, weights, labels)
        mass = np.bincount(labels, weights)
        near = centres @ centres.T
        np.fill_diagonal(near, -np.inf)
        lightest = int(mass.argmin())
        if mass[lightest] < small:
            labels = np.where(labels == lightest, near[lightest].argmax(), labels)
        elif near.max() >= same:
            i, j = np.unravel_index(near.argmax(), near.shape)
            labels = np.where(labels == i, j, labels)
        else:
            break
        labels = number_by_first_appearance(labels)
    return labels


def mean_directions(vectors: np.ndarray, weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(k, D): the direction of the weighted mean of each label's vectors."""
    total = np.zeros((int(labels.max(initial=-1)) + 1, vectors.shape[1]))
    np.add.at(total, labels, vectors * weights[:, None])
    result: np.ndarray = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
    return result


def number_by_first_appearance(labels: np.ndarray) -> np.ndarray:
    """The same groups, numbered from 0 in the order in which they first appear."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    result: np.ndarray = rank[inverse]
    return result


def _find_nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    result: np.ndarray = (vectors @ centres.T).argmax(axis=1)
    return result
