"""Compute the word error rate of a transcript against a reference. Needs jiwer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from ..errors import MissingExtra


@dataclass(frozen=True, slots=True)
class WordErrors:
    """How two texts differ in words, by the fewest changes that make one of the other.

    words          in the reference
    substitutions  words that were replaced; deletions: words that are missing; insertions: words that were added
    changes        (reference word, hypothesis word) in order; "" where there is none
    pairs          (position in the reference, position in the hypothesis) of the words that are equal
    """

    words: int
    substitutions: int
    deletions: int
    insertions: int
    changes: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    pairs: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    @property
    def rate(self) -> float:
        """The word error rate (WER): all changes by the words of the reference; infinite where it has none."""
        wrong = self.substitutions + self.deletions + self.insertions
        if not self.words:
            return float("inf") if wrong else 0.0
        return wrong / self.words


def normalise_text(text: str) -> str:
    """Normalise a text for comparison: NFKC, no case, only letters, digits and apostrophes inside words, single spaces.

    What stands in [square brackets] is not speech and is left out. Numbers are not spelled out, and spellings are not
    unified: "2" and "two", "colour" and "color" differ.

    >>> normalise_text("[Ann]: “It’s 3-fold,” she said…")
    "it's 3 fold she said"
    """
    text = unicodedata.normalize("NFKC", re.sub(r"\[[^\[\]]*\]", " ", text)).casefold()
    # Typewriter and typographic apostrophes are one, or every "it's" would be an error.
    text = re.sub("[’ʼ`´]", "'", text)
    # M: marks, among them vowels of Hindi and Thai
    cleaned = "".join(letter if letter == "'" or unicodedata.category(letter)[0] in "LNM" else " " for letter in text)
    return " ".join(word for part in cleaned.split() if (word := part.strip("'")))


def count_word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """Compare two lists of words, which should be normalised; see `normalise_text`. Raises MissingExtra without jiwer.

    >>> errors = count_word_errors("ask not what your country".split(), "ask what the country is".split())
    >>> errors.rate, errors.changes
    (0.6, (('not', ''), ('your', 'the'), ('', 'is')))
    """
    if not (reference and hypothesis):  # jiwer refuses empty texts
        changes = tuple((word, "") for word in reference) + tuple(("", word) for word in hypothesis)
        return WordErrors(len(reference), 0, len(reference), len(hypothesis), changes)
    try:
        import jiwer
    except ModuleNotFoundError as error:
        raise MissingExtra("the word error rate needs jiwer: pip install 'percepts[eval]'") from error
    # It splits at spaces and takes words as they are, so none of ours may hold one.
    here, there = (" ".join(word.replace(" ", "_") for word in words) for words in (reference, hypothesis))
    result = jiwer.process_words(here, there)
    spans = [
        (part.type == "equal", range(part.ref_start_idx, part.ref_end_idx), range(part.hyp_start_idx, part.hyp_end_idx))
        for part in result.alignments[0]
    ]
    pairs = [pair for equal, ours, theirs in spans if equal for pair in zip(ours, theirs, strict=True)]
    # zip_longest: insertions and deletions have words on one side only
    changed = [pair for equal, ours, theirs in spans if not equal for pair in zip_longest(ours, theirs)]
    return WordErrors(
        len(reference),
        result.substitutions,
        result.deletions,
        result.insertions,
        tuple(("" if i is None else reference[i], "" if j is None else hypothesis[j]) for i, j in changed),
        tuple(pairs),
    )
