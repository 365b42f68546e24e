"""Whether a text says one thing over and over: what a language model does when it has lost the sound."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST, OFTEN = 8, 5
"""Words that are repeated, and how often in a row is too often."""
ALIKE = 3
"""Pieces in a row with one text."""


def has_repeated_phrase(words: Sequence[str]) -> bool:
    """Whether some one to eight words come five times or more in a row.

    >>> repetitive("thank you " .split() * 5), repetitive("very very very good".split())
    (True, False)
    """
    for size in range(1, min(LONGEST, len(words) // OFTEN) + 1):
        run = 0
        for a, b in zip(words, words[size:], strict=False):
            run = run + 1 if a == b else 0
            if run >= size * (OFTEN - 1):
                return True
    return False


class RepetitionGuard:
    """The texts of a stream so far: `goes_on` says of the next one whether it only repeats."""

    def __init__(self) -> None:
        self._last: list[str] = []

    def is_repetitive(self, text: str, spaced: bool) -> bool:
        """Whether this text is repetitive, or the third in a row that is the same."""
        text = text.strip().casefold()
        self._last = [*self._last, text][-ALIKE:]
        alike = len(self._last) == ALIKE and len(set(self._last)) == 1
        return alike or has_repeated_phrase(text.split() if spaced else list(text))
