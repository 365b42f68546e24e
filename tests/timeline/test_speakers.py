"""Turns and their spans: the durations add up to those of the turns, overlaps included."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from percepts.timeline.speakers import merge_turns, remove_overlaps, split_by_speakers, sum_speaker_seconds
from percepts.types import Segment

turns = st.lists(
    st.builds(
        lambda start, length, name: Segment(start / 4, (start + length) / 4, "", speaker=name),
        st.integers(0, 60),
        st.integers(0, 20),
        st.sampled_from(["a", "b", "c", None]),
    ),
    max_size=8,
)


def speaking(found, time):
    return {turn.speaker for turn in found if turn.speaker and turn.start <= time < turn.stop}


INSTANTS = [quarter / 4 + 0.1 for quarter in range(84)]


@given(turns)
def test_stretches_say_who_speaks_at_every_instant(turns):
    laid = list(split_by_speakers(turns))
    assert all(first.stop == second.start for first, second in itertools.pairwise(laid))
    for time in INSTANTS:
        there = [stretch.speakers for stretch in laid if stretch.start <= time < stretch.stop]
        assert len(there) <= 1 and set().union(*there) == speaking(turns, time)


@given(turns)
def test_merging_changes_who_speaks_at_no_instant(turns):
    found = merge_turns(turns)
    assert all(speaking(found, time) == speaking(turns, time) for time in INSTANTS)
    for name in ("a", "b", "c"):
        own = [turn for turn in found if turn.speaker == name]
        assert all(first.stop < second.start for first, second in itertools.pairwise(own))
    assert sum_speaker_seconds(found) == sum_speaker_seconds(turns)


def test_merging_joins_over_short_gaps_with_text_and_words():
    word = Segment(0, 1, "x")
    parts = [Segment(0, 1, "one", (word,), "a"), Segment(1, 2, "", speaker="b"), Segment(1.5, 2, "two", (word,), "a")]
    joined = Segment(0, 2, "one two", (word, word), "a")
    assert merge_turns(parts, gap=0.5) == [joined, parts[1]]
    assert merge_turns(parts, gap=0.4) == parts


@given(turns)
def test_exclusive_has_one_of_those_who_speak_wherever_anybody_does(turns):
    found = remove_overlaps(turns)
    for time in INSTANTS:
        there, kept = speaking(turns, time), speaking(found, time)
        assert kept <= there and len(kept) == min(1, len(there))


def test_exclusive_leaves_the_floor_to_who_spoke_first():
    found = remove_overlaps([Segment(1, 3, "", speaker="a"), Segment(0, 2, "", speaker="b")])
    assert [(turn.start, turn.stop, turn.speaker) for turn in found] == [(0, 2, "b"), (2, 3, "a")]
