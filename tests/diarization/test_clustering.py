"""Clustering of voices: the right number of clearly different ones, within the limits that are set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from percepts.diarization.clustering import (
    SimilarityThresholds,
    SpeakerCount,
    cluster_by_linkage,
    cluster_speakers,
    mean_directions,
    merge_small_clusters,
    number_by_first_appearance,
)

LIKENESS = SimilarityThresholds(apart=0.3, alike=0.8, same=0.9)
ANY = SpeakerCount()


def voices(sizes: list[int], seed: int = 0, spread: float = 0.5, dim: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Return shuffled (n, dim) unit vectors around as many directions as there are sizes, and the direction of each."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = np.linalg.qr(rng.normal(size=(dim, dim)))[0][: len(sizes)]
    found = centres[truth] + spread * rng.normal(size=(len(truth), dim)) / np.sqrt(dim)
    return found / np.linalg.norm(found, axis=1, keepdims=True), number_by_first_appearance(truth)


def ones(vectors: np.ndarray) -> np.ndarray:
    return np.ones(len(vectors))


@pytest.mark.parametrize("sizes", [[60], [40, 40], [30, 12], [20, 30, 40], [25] * 6, [300, 400]])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_number_of_voices_is_found(sizes, seed):
    vectors, truth = voices(sizes, seed)
    labels = cluster_speakers(vectors, ones(vectors), LIKENESS, ANY, small=3)
    assert labels.max() + 1 == len(sizes)
    assert np.mean(labels == truth) > 0.99


@pytest.mark.parametrize("sizes", [[1], [3], [5, 5], [2, 2]])
def test_a_few_windows_are_enough_where_voices_are_far_apart(sizes):
    vectors, truth = voices(sizes, spread=0.2)
    assert np.array_equal(cluster_speakers(vectors, ones(vectors), LIKENESS, ANY, small=0.5), truth)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(1, 6), st.integers(0, 6), st.integers(0, 9))
def test_limits_are_kept_and_labels_begin_with_the_first_heard(sizes, least, more, seed):
    vectors, _ = voices(sizes, seed, spread=1.0)
    labels = cluster_speakers(vectors, ones(vectors), LIKENESS, SpeakerCount(least, least + more), small=2)
    assert len(labels) == len(vectors)
    assert min(least, len(vectors)) <= labels.max() + 1 <= least + more
    assert np.array_equal(labels, number_by_first_appearance(labels))


def test_the_same_vectors_give_the_same_labels():
    vectors, _ = voices([15, 20], spread=1.2)
    first, second = (cluster_speakers(vectors, ones(vectors), LIKENESS, ANY, small=2) for _ in range(2))
    assert np.array_equal(first, second)


def test_nothing_has_no_voices():
    assert len(cluster_speakers(np.zeros((0, 4)), np.zeros(0), LIKENESS, ANY, small=1)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_linkage_is_scipys(seed):
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    vectors, _ = voices([9, 7, 8], seed, spread=1.5)
    tree = hierarchy.linkage(vectors, "average", "cosine")
    for apart in (0.3, 0.5, 0.7, 0.9):
        theirs = number_by_first_appearance(hierarchy.fcluster(tree, apart, "distance"))
        assert np.array_equal(cluster_by_linkage(vectors, ones(vectors), apart=apart), theirs)
    theirs = number_by_first_appearance(hierarchy.fcluster(tree, 4, "maxclust"))
    assert np.array_equal(cluster_by_linkage(vectors, ones(vectors), apart=0.0, least=4, most=4), theirs)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=8), st.integers(0, 99))
def test_a_weight_counts_as_so_many_of_the_same(weights, seed):
    vectors, _ = voices([len(weights)], seed, spread=2.0)
    repeated = np.repeat(vectors, weights, axis=0)
    apart = cluster_by_linkage(repeated, ones(repeated), apart=0.6)
    assert np.array_equal(np.repeat(cluster_by_linkage(vectors, np.array(weights), apart=0.6), weights), apart)


def test_light_clusters_and_like_ones_are_given_to_their_nearest():
    vectors = np.array([[1, 0], [0.99, 0.141], [0.6, 0.8], [0, 1]])
    labels = np.arange(4)
    assert merge_small_clusters(vectors, np.ones(4), labels, 0.95, 1, small=0).tolist() == [0, 0, 1, 2]
    assert merge_small_clusters(vectors, np.array([1, 1, 0.1, 1]), labels, 2.0, 1, small=0.5).tolist() == [0, 1, 2, 2]
    assert merge_small_clusters(vectors, np.ones(4), labels, -1.0, 3, small=9).max() == 2


def test_means_are_directions_by_weight():
    found = mean_directions(np.array([[1.0, 0], [0, 1], [0, 1]]), np.array([3.0, 4, 1]), np.array([0, 0, 1]))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 1]])


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="least <= most"):
        SpeakerCount(3, 2)
    with pytest.raises(ValueError, match="1 <="):
        SpeakerCount(0, 2)
