"""Hypotheses about a growing stretch of sound in, words that are never taken back out: LocalAgreement.

Liu, Spanakis and Niehues 2020 (arXiv 2005.11185); the rules around it are those of Macháček, Dabre and Bojar 2023,
"Turning Whisper into Real-Time Transcription System" (arXiv 2307.14743), with one deviation, said at `_unrepeated`.
"""

from __future__ import annotations

import string
from collections import deque
from collections.abc import Callable, Sequence

from ..types import Segment

EARLY = 0.1  # seconds by which a word may begin before the last committed one ended and still be a new one
SEAM = 1.0  # seconds from that end within which the first new words may be the last committed ones, heard again
REPEATED = 5  # words, at most, that are heard again at a seam

ENDS = (".", "?", "!", "…", "。", "？", "！")
"""What a sentence ends with."""
_PUNCTUATION = string.punctuation + "…“”„‘’«»¿¡、。，！？"


def exactly(text: str) -> str:
    """Words agree if they are spelled the same, but for the space around them."""
    return text.strip()


def loosely(text: str) -> str:
    """Words agree whatever their case and the punctuation around them; more is committed, and sooner.

    >>> loosely(" Country,") == loosely("country")
    True
    """
    return text.strip().strip(_PUNCTUATION).casefold() or text.strip()


class Agreement:
    """Commits the longest beginning on which the last `passes` hypotheses agree, in the words and times of the newest.

    Each hypothesis is the words of one pass over the sound from some point on, in order, on the clock of the stream.
    What is committed stays: later hypotheses only add to it.

    Raises ValueError for fewer than two passes.

    >>> agreement = Agreement()
    >>> ask, what, that = (Segment(i, i + 1, text) for i, text in enumerate(("ask", "what", "that")))
    >>> [word.text for word in agreement.push([ask])], [word.text for word in agreement.push([ask, what])]
    ([], ['ask'])
    >>> [word.text for word in agreement.partial], [word.text for word in agreement.finish()]
    (['what'], ['what'])
    """

    def __init__(self, passes: int = 2, *, start: float = 0.0, key: Callable[[str], str] = exactly) -> None:
        if passes < 2:
            raise ValueError(f"expected two passes or more to agree, got {passes}")
        self._key = key
        self._before: deque[list[Segment]] = deque(maxlen=passes - 1)  # what earlier passes say comes next
        self._held: list[Segment] = []  # committed, and still in the sound that is heard again
        self.until = start
        """The end of the last committed word, in seconds."""

    @property
    def partial(self) -> tuple[Segment, ...]:
        """What the newest hypothesis says comes after the committed words; the next one may say otherwise."""
        return tuple(self._before[-1]) if self._before else ()

    @property
    def held(self) -> Sequence[Segment]:
        """Committed words whose sound is still heard again."""
        return self._held

    def push(self, hypothesis: Sequence[Segment]) -> list[Segment]:
        """The next hypothesis; the words that are committed by it."""
        new = self._unrepeated([word for word in hypothesis if word.start > self.until - EARLY])
        agreed = self._agreed(new)
        for earlier in self._before:
            del earlier[:agreed]
        self._before.append(new[agreed:])
        return self._commit(new[:agreed])

    def force(self, before: float) -> list[Segment]:
        """Commit the words of the partial that end before so many seconds, agreed on or not."""
        partial = self.partial
        count = next((i for i, word in enumerate(partial) if word.stop > before), len(partial))
        for earlier in self._before:
            del earlier[:count]
        return self._commit(list(partial[:count]))

    def finish(self) -> list[Segment]:
        """Nothing more will be heard: the partial is committed, and the next hypothesis is a first one."""
        rest = self._commit(list(self.partial))
        self._before.clear()
        return rest

    def forget(self, before: float) -> list[Segment]:
        """The sound before so many seconds is heard no more: the committed words that end in it, which are let go."""
        count = next((i for i, word in enumerate(self._held) if word.stop > before), len(self._held))
        gone, self._held = self._held[:count], self._held[count:]
        return gone

    def _commit(self, words: list[Segment]) -> list[Segment]:
        self._held += words
        if words:
            self.until = words[-1].stop
        return words

    def _agreed(self, new: Sequence[Segment]) -> int:
        """How many words from the first on all hypotheses have; none before there are enough of them."""
        if len(self._before) < (self._before.maxlen or 1):
            return 0
        most = min(len(new), *(len(earlier) for earlier in self._before))
        for i in range(most):
            if any(self._key(earlier[i].text) != self._key(new[i].text) for earlier in self._before):
                return i
        return most

    def _unrepeated(self, new: list[Segment]) -> list[Segment]:
        """Without the last committed words, if they were heard once more at the seam.

        The longest repetition is dropped, where the original takes the shortest: of "the the" it would leave one.
        """
        if not new or abs(new[0].start - self.until) >= SEAM:
            return new
        for count in range(min(REPEATED, len(self._held), len(new)), 0, -1):
            if all(
                self._key(a.text) == self._key(b.text) for a, b in zip(self._held[-count:], new[:count], strict=True)
            ):
                return new[count:]
        return new
