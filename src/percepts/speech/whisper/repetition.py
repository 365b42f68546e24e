"""Recognise text that says one thing over and over, as a language model does when it has lost the audio."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST, OFTEN = 8, 5
"""The most words of a repeated phrase, and how often in a row is too often."""
ALIKE = 3
"""Segments in a row with the same text that are too many."""


def has_repeated_phrase(words: Sequence[str]) -> bool:
    """Return whether a phrase of one to eight words comes five times or more in a row.

    >>> has_repeated_phrase("thank you " .split() * 5), has_repeated_phrase("very very very good".split())
    (True, False)
    """
    # A longer phrase cannot come OFTEN times in so few words.
    for size in range(1, min(LONGEST, len(words) // OFTEN) + 1):
        run = 0
        for a, b in zip(words, words[size:], strict=False):
            run = run + 1 if a == b else 0  # words in a row that equal the one `size` before
            if run >= size * (OFTEN - 1):
                return True
    return False


class RepetitionGuard:
    """The newest texts of a stream, with which the next one is compared."""

    def __init__(self) -> None:
        self._last: list[str] = []

    def is_repetitive(self, text: str, spaced: bool) -> bool:
        """Return whether this text repeats itself, or is the third in a row that is the same."""
        text = text.strip().casefold()
        self._last = [*self._last, text][-ALIKE:]
        alike = len(self._last) == ALIKE and len(set(self._last)) == 1
        return alike or has_repeated_phrase(text.split() if spaced else list(text))
