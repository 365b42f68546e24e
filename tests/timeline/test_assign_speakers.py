"""Speakers of words: every word has one, none is lost, and segments are cut where the speaker changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from percepts.timeline.assign_speakers import assign_speakers
from percepts.types import Segment


def turn(start: float, stop: float, name: str) -> Segment:
    return Segment(start, stop, "", speaker=name)


def said(text: str, step: float = 0.5) -> Segment:
    words = tuple(Segment(i * step, (i + 1) * step, f" {word}") for i, word in enumerate(text.split()))
    return Segment(0, len(words) * step, text, words)


def told(found: list[Segment]) -> list[tuple[str | None, str]]:
    return [(segment.speaker, segment.text) for segment in found]


def test_a_segment_is_cut_where_the_speaker_changes():
    found = assign_speakers([said("so what do you think I think so")], [turn(0, 2.4, "a"), turn(2.4, 9, "b")])
    assert told(found) == [("a", "so what do you think"), ("b", "I think so")]
    assert [(part.start, part.stop) for part in found] == [(0, 2.5), (2.5, 4)]


def test_a_word_between_belongs_to_those_around_it_unless_it_is_a_sentence():
    turns = [turn(0, 1, "a"), turn(1, 1.5, "b"), turn(1.5, 9, "a")]
    assert told(assign_speakers([said("one two three four")], turns)) == [("a", "one two three four")]
    assert [who for who, _ in told(assign_speakers([said("one two. Yes. And four")], turns))] == ["a", "b", "a"]


def test_words_nobody_speaks_go_to_the_nearest_turn_within_reach():
    turns = [turn(0, 0.9, "a"), turn(3.3, 4, "b")]
    found = assign_speakers([said("one two three four five six seven eight")], turns)
    assert [word.speaker for part in found for word in part.words] == ["a", "a", "a", None, None, "b", "b", "b"]


def test_a_word_stretched_over_silence_counts_for_its_first_second():
    word = Segment(0.2, 5.0, "so")
    assert assign_speakers([Segment(0.2, 5, "so", (word,))], [turn(0, 1, "a"), turn(2, 5, "b")])[0].speaker == "a"


def test_in_doubt_the_speaker_goes_on():
    both = [turn(0, 1, "a"), turn(0.5, 1, "b")]
    found = assign_speakers([said("one two")], both)
    assert told(found) == [("a", "one two")]


def test_segments_without_words_go_to_whoever_speaks_most():
    found = assign_speakers([Segment(0, 4, "one two"), Segment(8, 9, "x")], [turn(0, 1.5, "a"), turn(1.5, 4, "b")])
    assert told(found) == [("b", "one two"), (None, "x")]


times = st.integers(0, 40).map(lambda quarter: quarter / 4)
turns = st.lists(
    st.builds(lambda a, b, name: turn(min(a, b), max(a, b), name), times, times, st.sampled_from("abc")), max_size=6
)


@given(st.integers(1, 16), turns)
def test_every_word_is_kept_once_in_order_with_whoever_speaks_most_of_it(count, turns):
    segment = said(" ".join(f"w{i}" for i in range(count)))
    found = assign_speakers([segment], turns)
    words = [word for part in found for word in part.words]
    assert [word.text for word in words] == [word.text for word in segment.words]
    assert " ".join(part.text for part in found) == segment.text
    assert (found[0].start, found[-1].stop) == (segment.start, segment.stop)
    assert all(word.speaker == part.speaker for part in found for word in part.words)
    names = {turn.speaker for turn in turns}
    assert all(word.speaker is None or word.speaker in names for word in words)
    for word in words:
        overlapping = {t.speaker for t in turns if min(t.stop, word.stop) > max(t.start, word.start)}
        if len(overlapping) == 1 and len(found) == count:  # no smoothing
            assert word.speaker in overlapping


@given(turns)
def test_nobody_speaking_leaves_everything_to_nobody(turns):
    far = Segment(100, 101, "far", (Segment(100, 101, "far"),))
    assert assign_speakers([far], turns)[0].speaker is None
