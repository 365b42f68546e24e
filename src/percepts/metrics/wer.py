"""What was said and what was written down in, the words that differ out: the word error rate. Needs jiwer."""

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
    substitutions  words that are others; deletions: words that are missing; insertions: words that nobody said
    changes        (said, written) in order; "" for a word that is not there
    pairs          (place in the reference, place in the hypothesis) of the words that are the same
    """

    words: int
    substitutions: int
    deletions: int
    insertions: int
    changes: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    pairs: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    @property
    def rate(self) -> float:
        """The word error rate (WER): all changes by the words of the reference; infinite where that has none."""
        wrong = self.substitutions + self.deletions + self.insertions
        if not self.words:
            return float("inf") if wrong else 0.0
        return wrong / self.words


def normalise_text(text: str) -> str:
    """A text as it is compared: NFKC, no case, only letters, digits and apostrophes within words; one space between.

    What stands in [square brackets] is no speech and left out. Numbers are not spelled out and spellings not unified:
    "2" and "two", "colour" and "color" differ.

    >>> normal("[Ann]: “It’s 3-fold,” she said…")
    "it's 3 fold she said"
    """
    text = unicodedata.normalize("NFKC", re.sub(r"\[[^\[\]]*\]", " ", text)).casefold()
    text = re.sub("[’ʼ`´]", "'", text)
    kept = "".join(letter if letter == "'" or unicodedata.category(letter)[0] in "LNM" else " " for letter in text)
    return " ".join(word for part in kept.split() if (word := part.strip("'")))


def count_word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """Compare words, which must be spelled the same; see `normal`. Raises MissingExtra without jiwer.

    >>> errors = word_errors("ask not what your country".split(), "ask what the country is".split())
    >>> errors.rate, errors.changes
    (0.6, (('not', ''), ('your', 'the'), ('', 'is')))
    """
    if not (reference and hypothesis):  # which jiwer does not take
        changes = tuple((word, "") for word in reference) + tuple(("", word) for word in hypothesis)
        return WordErrors(len(reference), 0, len(reference), len(hypothesis), changes)
    try:
        import jiwer
    except ModuleNotFoundError as error:
        raise MissingExtra("the word error rate needs jiwer: pip install 'percepts[eval]'") from error
    # It splits at spaces and takes words as they are, so none of ours may hold one.
    here, there = (" ".join(word.replace(" ", "_") for word in words) for words in (reference, hypothesis))
    found = jiwer.process_words(here, there)
    spans = [
        (part.type == "equal", range(part.ref_start_idx, part.ref_end_idx), range(part.hyp_start_idx, part.hyp_end_idx))
        for part in found.alignments[0]
    ]
    pairs = [pair for equal, said, written in spans if equal for pair in zip(said, written, strict=True)]
    changed = [pair for equal, said, written in spans if not equal for pair in zip_longest(said, written)]
    return WordErrors(
        len(reference),
        found.substitutions,
        found.deletions,
        found.insertions,
        tuple(("" if i is None else reference[i], "" if j is None else hypothesis[j]) for i, j in changed),
        tuple(pairs),
    )
