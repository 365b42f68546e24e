"""The word error rate of normalised texts, as jiwer counts it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("jiwer", reason="jiwer is an extra: pip install 'percepts[eval]'")

from percepts.metrics.wer import count_word_errors, normalise_text

settings.load_profile("ci")
words = st.lists(st.sampled_from(["ask", "not", "what", "it's", "一", "a b"]), max_size=12)


def distance(said: list[str], written: list[str]) -> int:
    row = list(range(len(written) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(written, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


@given(words, words)
def test_the_changes_are_the_fewest_and_make_one_of_the_other(said, written):
    found = count_word_errors(said, written)
    assert found.substitutions + found.deletions + found.insertions == len(found.changes) == distance(said, written)
    assert [said[i] for i, _ in found.pairs] == [written[j] for _, j in found.pairs]
    assert sorted([word for word, _ in found.changes if word] + [said[i] for i, _ in found.pairs]) == sorted(said)
    assert sorted([word for _, word in found.changes if word] + [written[j] for _, j in found.pairs]) == sorted(written)
    assert found.words == len(said) and count_word_errors(said, said).rate == 0


def test_no_words_are_no_errors_unless_some_are_made_up():
    assert count_word_errors([], []).rate == 0
    assert count_word_errors([], ["a"]).rate == float("inf")
    assert count_word_errors(["a"], []).rate == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("And so, MY fellow Americans:", "and so my fellow americans"),
        ("[Ann]: it’s ‘fine’ — rock-'n'-roll", "it's fine rock n roll"),
        ("Straße, café", "strasse café"),
        ("3.5 % of ½", "3 5 of 1 2"),
        ("हिन्दी में", "हिन्दी में"),
        ("", ""),
    ],
)
def test_texts_are_made_alike(text, expected):
    assert normalise_text(text) == expected == normalise_text(normalise_text(text))
