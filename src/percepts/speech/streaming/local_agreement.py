"""Hypotheses about a growing stretch of sound in, words that are never taken back out: LocalAgreement.

Liu, Spanakis and Niehues 2020 (arXiv 2005.11185); the rules around it are those of Macháček, Dabre and Bojar 2023,
"Turning Whisper into Real-Time Transcription System" (arXiv 2307.14743), with one deviation, said at `_unrepeated`.
"""

from __future__ import annotations

import string
from collections import deque
from collections.abc import Callable, Sequence

from ...types import Segment

MAX_OVERLAP_S = 0.1  # seconds by which a word may begin before the last committed one ended and still be a new one
SEAM_S = 1.0  # seconds from that end within which the first new words may be the last committed ones, heard again
MAX_REPEATED_WORDS = 5  # words, at most, that are heard again at a seam

SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")
"""What a sentence ends with."""
_PUNCTUATION = string.punctuation + "…“”„‘’«»¿¡、。，！？"


def exact_key(text: str) -> str:
    """Words agree if they are spelled the same, but for the space around them."""
    return text.strip()


def loose_key(text: str) -> str:
    """Words agree whatever their case and the punctuation around them; more is committed, and sooner.

    >>> loosely(" Country,") == loosely("country")
    True
    """
    return text.strip().strip(_PUNCTUATION).casefold() or text.strip()


class LocalAgreement:
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

    def __init__(self, passes: int = 2, *, start: float = 0.0, key: Callable[[str], str] = exact_key) -> None:
        if passes < 2:
            raise ValueError(f"expected two passes or more to agree, got {passes}")
        self._key = key
        self._hypotheses: deque[list[Segment]] = deque(maxlen=passes - 1)  # what earlier passes say comes next
        self._buffered: list[Segment] = []  # committed, and still in the sound that is heard again
        self.committed_until = start
        """The end of the last committed word, in seconds."""

    @property
    def partial(self) -> tuple[Segment, ...]:
        """What the newest hypothesis says comes after the committed words; the next one may say otherwise."""
        return tuple(self._hypotheses[-1]) if self._hypotheses else ()

    @property
    def buffered_words(self) -> Sequence[Segment]:
        """Committed words whose sound is still heard again."""
        return self._buffered

    def push(self, hypothesis: Sequence[Segment]) -> list[Segment]:
        """The next hypothesis; the words that are committed by it."""
        new = self._drop_repeated([word for word in hypothesis if word.start > self.committed_until - MAX_OVERLAP_S])
        agreed = self._count_agreed(new)
        for earlier in self._hypotheses:
            del earlier[:agreed]
        self._hypotheses.append(new[agreed:])
        return self._commit_words(new[:agreed])

    def force_commit(self, before: float) -> list[Segment]:
        """Commit the words of the partial that end before so many seconds, agreed on or not."""
        partial = self.partial
        count = next((i for i, word in enumerate(partial) if word.stop > before), len(partial))
        for earlier in self._hypotheses:
            del earlier[:count]
        return self._commit_words(list(partial[:count]))

    def finish(self) -> list[Segment]:
        """Nothing more will be heard: the partial is committed, and the next hypothesis is a first one."""
        rest = self._commit_words(list(self.partial))
        self._hypotheses.clear()
        return rest

    def forget_before(self, before: float) -> list[Segment]:
        """The sound before so many seconds is heard no more: the committed words that end in it, which are let go."""
        count = next((i for i, word in enumerate(self._buffered) if word.stop > before), len(self._buffered))
        gone, self._buffered = self._buffered[:count], self._buffered[count:]
        return gone

    def _commit_words(self, words: list[Segment]) -> list[Segment]:
        self._buffered += words
        if words:
            self.committed_until = words[-1].stop
        return words

    def _count_agreed(self, new: Sequence[Segment]) -> int:
        """How many words from the first on all hypotheses have; none before there are enough of them."""
        if len(self._hypotheses) < (self._hypotheses.maxlen or 1):
            return 0
        most = min(len(new), *(len(earlier) for earlier in self._hypotheses))
        for i in range(most):
            if any(self._key(earlier[i].text) != self._key(new[i].text) for earlier in self._hypotheses):
                return i
        return most

    def _drop_repeated(self, new: list[Segment]) -> list[Segment]:
        """Without the last committed words, if they were heard once more at the seam.

        The longest repetition is dropped, where the original takes the shortest: of "the the" it would leave one.
        """
        if not new or abs(new[0].start - self.committed_until) >= SEAM_S:
            return new
        for count in range(min(MAX_REPEATED_WORDS, len(self._buffered), len(new)), 0, -1):
            if all(
                self._key(a.text) == self._key(b.text)
                for a, b in zip(self._buffered[-count:], new[:count], strict=True)
            ):
                return new[count:]
        return new
