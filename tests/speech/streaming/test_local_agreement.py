"""What is committed stays, and is what the passes agree on: golden cases, then the law."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from percepts.speech.streaming.local_agreement import LocalAgreement, exact_key, loose_key
from percepts.types import Segment


def words(text: str, start: float = 0.0, step: float = 0.5) -> list[Segment]:
    """One every half second."""
    return [Segment(start + i * step, start + (i + 1) * step, f" {word}") for i, word in enumerate(text.split())]


def texts(found) -> str:
    return " ".join(word.text.strip() for word in found)


def test_the_first_pass_commits_nothing_and_the_second_what_both_begin_with():
    agreement = LocalAgreement()
    assert texts(agreement.push(words("and so my fell"))) == ""
    assert texts(agreement.partial) == "and so my fell"
    assert texts(agreement.push(words("and so my fellow Americans"))) == "and so my"
    assert texts(agreement.partial) == "fellow Americans"
    assert agreement.committed_until == 1.5


def test_text_and_times_are_those_of_the_newer_pass():
    agreement = LocalAgreement()
    agreement.push(words("ask not"))
    (first, *_) = agreement.push(words("ask not what", start=0.2))
    assert (first.start, first.stop) == (0.2, 0.7)


def test_committed_words_that_are_heard_again_are_not_committed_again():
    agreement = LocalAgreement()
    for hypothesis in ("ask not what", "ask not what your", "ask not what your country can"):
        agreement.push(words(hypothesis))
    assert texts(agreement.push(words("ask not what your country can do"))) == "country can"
    assert texts(agreement.partial) == "do"


@pytest.mark.parametrize(
    ("committed", "again", "left"),
    [
        ("ask not what", "what your country", "your country"),
        ("ask not what", "not what your country", "your country"),
        ("it is the the", "the the cat", "cat"),
        ("ask not what", "who are you", "who are you"),
    ],
)
def test_the_last_words_heard_once_more_at_a_seam_are_dropped(committed, again, left):
    agreement = LocalAgreement()
    for _ in range(2):
        agreement.push(words(committed))
    agreement.push(words(again, start=agreement.committed_until + 0.2))
    assert texts(agreement.partial) == left


def test_a_repetition_that_is_far_from_the_seam_was_said():
    agreement = LocalAgreement()
    for _ in range(2):
        agreement.push(words("no"))
    agreement.push(words("no means no", start=agreement.committed_until + 1.5))
    assert texts(agreement.partial) == "no means no"


def test_three_passes_commit_what_three_agree_on():
    agreement = LocalAgreement(3)
    assert not agreement.push(words("a b c"))
    assert not agreement.push(words("a b d"))
    assert texts(agreement.push(words("a b d e"))) == "a b"
    assert texts(agreement.push(words("a b d e f", start=0))) == "d"
    with pytest.raises(ValueError, match="two passes"):
        LocalAgreement(1)


@pytest.mark.parametrize(("key", "committed"), [(exact_key, "my"), (loose_key, "my fellow Americans,")])
def test_what_of_a_word_must_agree_is_for_the_caller_to_say(key, committed):
    agreement = LocalAgreement(key=key)
    agreement.push(words("my Fellow americans. ask"))
    assert texts(agreement.push(words("my fellow Americans, and"))) == committed


def test_a_stalled_tail_can_be_forced():
    agreement = LocalAgreement()
    for tail in ("x", "y", "z"):
        assert not agreement.push(words(f"{tail} b c d"))
    assert texts(agreement.force_commit(before=1.0)) == "z b"
    assert texts(agreement.partial) == "c d"
    assert texts(agreement.push(words("z b c d e"))) == "c d"


def test_the_end_commits_what_is_left():
    agreement = LocalAgreement()
    agreement.push(words("for your country"))
    assert texts(agreement.finish()) == "for your country"
    assert agreement.finish() == []
    assert agreement.partial == ()


def test_forgetting_gives_the_words_whose_sound_is_gone():
    agreement = LocalAgreement()
    for _ in range(2):
        agreement.push(words("ask not what"))
    assert texts(agreement.forget_before(1.0)) == "ask not"
    assert texts(agreement.forget_before(9.0)) == "what"


heard = st.lists(st.lists(st.sampled_from("ab"), max_size=6).map(" ".join), max_size=8)


@given(heard, st.integers(2, 4), st.sampled_from([exact_key, loose_key]))
def test_what_is_committed_is_a_prefix_of_every_later_state_and_goes_forward(hypotheses, passes, key):
    agreement, committed = LocalAgreement(passes, key=key), []
    for text in hypotheses:
        before, until = len(committed), agreement.committed_until
        committed += agreement.push(words(text))
        assert len(committed) >= before and agreement.committed_until >= until
        assert all(word.start > until - 0.1 for word in committed[before:])
    committed += agreement.finish()
    assert [word.start for word in committed] == sorted(word.start for word in committed)


@given(st.lists(st.sampled_from(["one", "two", "three", "four"]), max_size=12), st.data())
def test_hypotheses_that_only_grow_are_committed_whole(said, data):
    said = [f"{word}{i}" for i, word in enumerate(said)]  # no two alike: nothing looks like a repetition
    agreement, committed = LocalAgreement(), []
    lengths = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=6)))
    for length in [*lengths, len(said)]:
        committed += agreement.push(words(" ".join(said[:length])))
    assert texts([*committed, *agreement.finish()]) == " ".join(said)
