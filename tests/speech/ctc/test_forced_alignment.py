"""Forced alignment: the best of all paths by trying them all, words where they are, times between for what has none."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted, sound, spelled

from percepts.errors import AlignError
from percepts.speech.ctc.forced_alignment import align_text, viterbi

settings.load_profile("ci")


def paths(frames: int, labels: list[int]) -> list[tuple[int, ...]]:
    """All there are."""
    last = 2 * len(labels)
    found = []
    for path in product(range(last + 1), repeat=frames):
        starts, ends = path[0] <= 1, path[-1] >= last - 1
        steps = all(
            0 <= b - a <= 1 or (b - a == 2 and b % 2 and labels[a // 2] != labels[b // 2]) for a, b in pairwise(path)
        )
        if starts and ends and steps:
            found.append(path)
    return found


def score(logprobs: np.ndarray, labels: list[int], path: np.ndarray) -> float:
    return float(sum(logprobs[t, labels[s // 2] if s % 2 else 0] for t, s in enumerate(path)))


@given(st.lists(st.integers(1, 2), max_size=3), st.integers(1, 4), st.integers(0, 10**6))
def test_no_path_is_better(labels, frames, seed):
    logprobs = np.log(np.random.default_rng(seed).dirichlet(np.ones(3), frames))
    there = paths(frames, labels)
    if not there:
        with pytest.raises(AlignError, match="frames or more"):
            viterbi(logprobs, labels, blank=0)
        return
    found = viterbi(logprobs, labels, blank=0)
    assert tuple(found) in there
    assert score(logprobs, labels, found) == pytest.approx(max(score(logprobs, labels, p) for p in there))


@settings(max_examples=15)
@given(st.lists(st.integers(1, 7), min_size=20, max_size=40), st.integers(0, 10**6))
def test_a_band_that_holds_the_way_changes_nothing(labels, seed):
    rng = np.random.default_rng(seed)
    told = [column for label in labels for column in [label] * rng.integers(1, 4) + [0] * rng.integers(1, 4)]
    logprobs = np.log(rng.dirichlet(np.ones(8), len(told)) * 0.3 + 0.7 * np.eye(8)[told])
    whole = viterbi(logprobs, labels, blank=0)
    assert np.array_equal(viterbi(logprobs, labels, blank=0, band=24), whole)


def test_words_are_where_they_were_said():
    engine = Scripted()
    frames = engine.emissions(sound(spelled("____nn_o_w|__a__b_____c____")).data[0])
    first, second = align_text(frames, "Now, ab\n\n  c!", engine, start=60.0)
    assert (first.text, second.text) == ("Now, ab", "c!")
    assert [(w.text, round(w.start, 3), round(w.stop, 3)) for line in (first, second) for w in line.words] == [
        (" Now,", 60.04, 60.10),
        (" ab", 60.13, 60.17),
        (" c!", 60.22, 60.23),
    ]
    assert min(word.score for word in first.words) > 0.9
    assert align_text(frames, "ba now", engine)[0].score < 0.5  # nobody said that


def test_what_the_vocabulary_has_not_is_any_letter_and_signs_stand_between():
    engine = Scripted()
    frames = engine.emissions(sound(spelled("__a_|_bcb_|__c__")).data[0])
    (line,) = align_text(frames, "- a 196 – & c …", engine)
    assert [word.text.strip() for word in line.words] == ["-", "a", "196", "–", "&", "c", "…"]
    times = [(round(word.start, 3), round(word.stop, 3)) for word in line.words]
    assert times == [(0.0, 0.02), (0.02, 0.03), (0.06, 0.09), (0.09, 0.11), (0.11, 0.13), (0.13, 0.14), (0.14, 0.15)]
    assert [word.score is None for word in line.words] == [True, False, False, True, True, False, True]


def test_an_hour_is_followed_in_a_band():
    engine, rng = Scripted(), np.random.default_rng(1)
    said = "".join(f"{'_' * rng.integers(0, 9)}{rng.choice(list('abcnow'))}_" for _ in range(3000)) + "_" * 4000
    frames = engine.emissions(sound(spelled(said)).data[0])
    text = " ".join(letter for letter in said if letter != "_")
    free = Scripted()
    free.vocabulary = ("<pad>", "?", *Scripted.vocabulary[2:])  # no space between words: every letter is one
    free.delimiter = "|"
    (line,) = align_text(frames, text, free, band=256)
    places = [i for i, letter in enumerate(said) if letter != "_"]
    assert [round(word.start * 100) for word in line.words] == places


@pytest.mark.parametrize(("text", "said"), [("", "no letter"), ("… !", "no letter"), ("abcabc", "6 letters need 6")])
def test_texts_that_cannot_be_are_refused(text, said):
    with pytest.raises(AlignError, match=said):
        align_text(Scripted().emissions(sound([0] * 5).data[0]), text, Scripted())
