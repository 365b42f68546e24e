"""Intervals of labels: windows are joined where they touch, and weighted by their duration."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from percepts.timeline.intervals import join_windows
from percepts.types import Record


def row(start: float, stop: float, **scores: float) -> Record:
    best = sorted(scores, key=lambda label: -scores[label])
    return Record("a", start, stop, "m", "audio", labels=tuple(best), scores=tuple(scores[label] for label in best))


def told(rows: list[Record], threshold: float | None = None) -> list[tuple[float, float, str]]:
    return [(found.start, found.stop, found.text) for found in join_windows(rows, threshold)]


def test_neighbours_of_one_best_label_are_one_interval() -> None:
    rows = [row(0, 1, rain=0.6, wind=0.4), row(1, 2, rain=0.9, wind=0.1), row(2, 3, wind=0.7, rain=0.3)]
    assert told(rows) == [(0, 2, "rain"), (2, 3, "wind")]
    assert [found.kind for found in join_windows(rows)] == ["label", "label"]


def test_above_a_threshold_labels_overlap() -> None:
    rows = [row(0, 1, rain=0.6, wind=0.5), row(1, 2, rain=0.9, wind=0.1), row(2, 3, wind=0.7, rain=0.3)]
    assert told(rows, 0.5) == [(0, 2, "rain"), (0, 1, "wind"), (2, 3, "wind")]


def test_a_gap_parts_and_an_overlap_joins() -> None:
    assert told([row(0, 1, rain=1.0), row(1.5, 2, rain=1.0)]) == [(0, 1, "rain"), (1.5, 2, "rain")]
    assert told([row(0, 2, rain=1.0), row(1, 3, rain=1.0)]) == [(0, 3, "rain")]


def test_the_score_is_the_mean_weighted_by_duration() -> None:
    (found,) = join_windows([row(0, 3, rain=0.5), row(3, 4, rain=0.9)])
    assert found.score == pytest.approx(0.6)


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.floats(0, 1)), max_size=20))
def test_every_second_has_the_label_that_was_best_there(seconds: list[tuple[str, float]]) -> None:
    found = join_windows([row(t, t + 1, **{label: score}) for t, (label, score) in enumerate(seconds)])
    for t, (label, _) in enumerate(seconds):
        assert [s.text for s in found if s.start <= t and t + 1 <= s.stop] == [label]
    assert all(a.text != b.text for a, b in pairwise(found))
