"""Cluster voice embeddings of short windows by speaker; the number of speakers need not be known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAMPLED = 384  # vectors from which the number of speakers is estimated; the cost is cubic, for each size tried
STEPS = 16  # neighbourhood sizes tried
TRIALS = 10  # runs of k-means, with fixed seeds, so that results repeat
FEW = 6  # fewer vectors have no neighbourhoods: they are clustered by linkage
# Windows overlap, so the nearest vectors of each window are its own neighbours in time. A neighbourhood that holds no
# others makes a speaker of every sentence: with 2, none of six real voices (Free Spoken Digit Dataset), each alone, was
# recognised as one speaker; with 10 all were, and all of 48 mixtures of two to six of them were counted right.
FLOOR = 10
EACH = 5  # windows that each speaker must have where there are fewer than 30 in all


@dataclass(frozen=True, slots=True)
class SimilarityThresholds:
    """Cosine thresholds of one speaker encoder; measured for it, and of no use to another.

    apart  average cosine distance (1 - cosine) between single windows from which on they are two speakers
    alike  cosine between the means of a few windows each from which on they are one speaker
    same   cosine between the means of many windows each from which on they are one speaker
    """

    apart: float
    alike: float
    same: float


@dataclass(frozen=True, slots=True)
class SpeakerCount:
    """The least and the greatest number of speakers that may be found."""

    least: int = 1
    most: int = 20

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ValueError(f"expected 1 <= least <= most speakers, got {self.least} and {self.most}")


def cluster_speakers(
    vectors: np.ndarray, weights: np.ndarray, thresholds: SimilarityThresholds, count: SpeakerCount, *, small: float
) -> np.ndarray:
    """Cluster (n, D) unit vectors with (n,) weights; return (n,) labels 0 … k - 1 in the order of first appearance.

    NME-SC (Park et al. 2019, arXiv 2003.02405): spectral clustering whose neighbourhood size and number of clusters
    follow from the eigenvalues of the graph itself; average linkage for fewer than six vectors. Then each vector goes
    to the nearest mean, clusters lighter than `small` join their nearest neighbour, and clusters of one voice are
    merged, as far as `count` allows. Up to 384 vectors, evenly spread, decide; memory is linear in n.
    """
    n = len(vectors)
    most, least = min(count.most, n), min(count.least, n)
    if most <= 1:
        return np.zeros(n, np.int64)
    # Evenly spread over time, so that every speaker has a share of them.
    chosen = np.unique(np.linspace(0, n - 1, min(n, SAMPLED)).round().astype(np.int64))
    sample, many = vectors[chosen], len(chosen) >= 3 * FLOOR
    if len(sample) < FEW:
        labels = cluster_by_linkage(sample, weights[chosen], apart=thresholds.apart, least=least, most=most)
    else:
        labels = cluster_spectral(sample, least, most if many else max(least, min(most, n // EACH)))
    labels = _find_nearest(vectors, mean_directions(sample, weights[chosen], labels))
    same = thresholds.same if many else thresholds.alike
    return merge_small_clusters(vectors, weights, labels, same, least, small=small)


def cluster_spectral(vectors: np.ndarray, least: int, most: int) -> np.ndarray:
    """Cluster (n, D) unit vectors by NME-SC into `least` to `most` clusters; return (n,) labels."""
    n = len(vectors)
    # Stable, so that equal similarities give the same graph on every machine.
    order = np.argsort(-(vectors @ vectors.T), axis=1, kind="stable")
    best: tuple[float, int, int] | None = None
    for p in np.unique(np.linspace(min(FLOOR, max(2, n // 3)), max(2, n // 3), STEPS).astype(int)):
        values = np.linalg.eigvalsh(_build_laplacian(order, p))
        gaps = np.diff(values[: most + 1])
        if len(gaps) < least:
            gaps = np.pad(gaps, (0, least - len(gaps)))
        k = int(gaps[least - 1 :].argmax()) + least
        # NME-SC takes the p with the lowest ratio of p to the normalised maximum eigengap.
        ratio = p / n / max(gaps[k - 1] / max(values[-1], 1e-12), 1e-12)
        if best is None or ratio < best[0]:
            best = (ratio, int(p), k)
    assert best is not None
    _, p, k = best
    _, directions = np.linalg.eigh(_build_laplacian(order, p))
    return _run_k_means(directions[:, :k], k)


def _build_laplacian(order: np.ndarray, p: int) -> np.ndarray:
    """Return the (n, n) Laplacian of the graph that joins each vector to its p nearest; one-sided edges weigh half."""
    n = len(order)
    joined = np.zeros((n, n))
    joined[np.arange(n)[:, None], order[:, :p]] = 1.0
    joined = (joined + joined.T) / 2
    np.fill_diagonal(joined, 0.0)
    result: np.ndarray = np.diag(joined.sum(axis=1)) - joined
    return result


def _run_k_means(points: np.ndarray, k: int) -> np.ndarray:
    """Cluster (n, d) points into k; return the (n,) labels of the best of several runs, each begun by k-means++."""
    best, lowest = np.zeros(len(points), np.int64), np.inf
    for seed in range(TRIALS):
        centres = _choose_initial_centres(points, k, np.random.default_rng(seed))
        for _ in range(50):
            distance = _square_distances(points, centres)
            labels = distance.argmin(axis=1)
            filled = np.unique(labels)  # a centre without points stays where it is
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
    """Choose k points at random, those far from the ones before more likely (k-means++)."""
    centres = [points[rng.integers(len(points))]]
    for _ in range(k - 1):
        far = _square_distances(points, np.array(centres)).min(axis=1)
        total = far.sum()
        centres.append(points[rng.choice(len(points), p=far / total if total > 0 else None)])
    return np.array(centres)


def _square_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the (n, k) squared distances of (n, d) points and (k, d) centres."""
    result: np.ndarray = np.square(points[:, None] - centres).sum(axis=2)
    return result


def cluster_by_linkage(
    vectors: np.ndarray, weights: np.ndarray, *, apart: float, least: int = 1, most: int = 0
) -> np.ndarray:
    """Merge the two nearest of the clusters of (n, D) unit vectors until all are `apart`; return (n,) labels.

    Average linkage over cosine distances, each vector counting by its weight. At least `least` clusters are left, and
    no more than `most` (0: any number) even if they are apart. Memory is n².
    """
    n = len(vectors)
    distance = 1.0 - vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(distance, np.inf)
    mass = weights.astype(np.float64).copy()
    labels = np.arange(n)
    # The nearest cluster of each is kept up to date, so a merge costs n and not n².
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
    """Merge clusters lighter than `small` into their nearest, and those nearer than `same`, down to `least`."""
    labels = number_by_first_appearance(labels)
    while labels.max(initial=0) + 1 > max(least, 1):
        centres = mean_directions(vectors, weights, labels)
        mass = np.bincount(labels, weights)
        near = centres @ centres.T
        np.fill_diagonal(near, -np.inf)
        lightest = int(mass.argmin())
        if mass[lightest] < small:
            # One at a time: the means change with every merge.
            labels = np.where(labels == lightest, near[lightest].argmax(), labels)
        elif near.max() >= same:
            i, j = np.unravel_index(near.argmax(), near.shape)
            labels = np.where(labels == i, j, labels)
        else:
            break
        labels = number_by_first_appearance(labels)
    return labels


def mean_directions(vectors: np.ndarray, weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the (k, D) unit vectors of the weighted mean of each label's vectors."""
    total = np.zeros((int(labels.max(initial=-1)) + 1, vectors.shape[1]))
    np.add.at(total, labels, vectors * weights[:, None])
    result: np.ndarray = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
    return result


def number_by_first_appearance(labels: np.ndarray) -> np.ndarray:
    """Renumber the labels from 0 in the order in which they first appear."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    result: np.ndarray = rank[inverse]
    return result


def _find_nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return for each vector the index of the centre with the highest cosine."""
    result: np.ndarray = (vectors @ centres.T).argmax(axis=1)
    return result
