"""Commit the words on which successive transcripts of a growing piece of audio agree (LocalAgreement).

Liu, Spanakis and Niehues 2020 (arXiv 2005.11185). The rules around it are those of Macháček, Dabre and Bojar 2023,
"Turning Whisper into Real-Time Transcription System" (arXiv 2307.14743), with one deviation: see `_drop_repeated`.
"""

from __future__ import annotations

import string
from collections import deque
from collections.abc import Callable, Sequence

from ...types import Segment

MAX_OVERLAP_S = 0.1  # a new word may begin this much before the end of the last committed one
SEAM_S = 1.0  # first words this near to that end may be the last committed ones, repeated
MAX_REPEATED_WORDS = 5  # most words that are repeated there

SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")
"""Characters that end a sentence."""
_PUNCTUATION = string.punctuation + "…“”„‘’«»¿¡、。，！？"


def exact_key(text: str) -> str:
    """Return the text without the space around it: two words agree if they are spelled the same."""
    return text.strip()


def loose_key(text: str) -> str:
    """Return the text without case and surrounding punctuation: more words agree, and they are committed earlier.

    >>> loose_key(" Country,") == loose_key("country")
    True
    """
    # A word of punctuation alone would become "", and all such words would agree.
    return text.strip().strip(_PUNCTUATION).casefold() or text.strip()


class LocalAgreement:
    """The longest beginning on which the last `passes` hypotheses agree, in the words and times of the newest one.

    A hypothesis is the list of words of one pass over the audio, in order, on the clock of the stream. Committed words
    are never taken back: later hypotheses only add to them.

    Raises ValueError for fewer than two passes.

    >>> agreement = LocalAgreement()
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
        self._hypotheses: deque[list[Segment]] = deque(
            maxlen=passes - 1
        )  # words after the committed ones, by earlier passes
        self._buffered: list[Segment] = []  # committed, and their audio is still in the buffer
        self.committed_until = start
        """The end of the last committed word, in seconds."""

    @property
    def partial(self) -> tuple[Segment, ...]:
        """Words of the newest hypothesis after the committed ones; the next hypothesis may change them."""
        return tuple(self._hypotheses[-1]) if self._hypotheses else ()

    @property
    def buffered_words(self) -> Sequence[Segment]:
        """Committed words whose audio is still in the buffer, so that the next pass transcribes them again."""
        return self._buffered

    def push(self, hypothesis: Sequence[Segment]) -> list[Segment]:
        """Take the next hypothesis and return the words that it commits."""
        new = self._drop_repeated([word for word in hypothesis if word.start > self.committed_until - MAX_OVERLAP_S])
        agreed = self._count_agreed(new)
        for earlier in self._hypotheses:
            del earlier[:agreed]
        self._hypotheses.append(new[agreed:])
        return self._commit_words(new[:agreed])

    def force_commit(self, before: float) -> list[Segment]:
        """Commit the partial words that end before a time in seconds, even without agreement on them."""
        partial = self.partial
        count = next((i for i, word in enumerate(partial) if word.stop > before), len(partial))
        for earlier in self._hypotheses:
            del earlier[:count]
        return self._commit_words(list(partial[:count]))

    def finish(self) -> list[Segment]:
        """Commit the partial words and return them; the next hypothesis is a first one."""
        rest = self._commit_words(list(self.partial))
        # What follows is another utterance: a hypothesis about this one must not vote on it.
        self._hypotheses.clear()
        return rest

    def forget_before(self, before: float) -> list[Segment]:
        """Drop the committed words that end before a time in seconds, with their audio, and return them."""
        count = next((i for i, word in enumerate(self._buffered) if word.stop > before), len(self._buffered))
        gone, self._buffered = self._buffered[:count], self._buffered[count:]
        return gone

    def _commit_words(self, words: list[Segment]) -> list[Segment]:
        """Record words as committed and return them."""
        self._buffered += words
        if words:
            self.committed_until = words[-1].stop
        return words

    def _count_agreed(self, new: Sequence[Segment]) -> int:
        """Count the first words that all hypotheses share: 0 while there are fewer hypotheses than `passes`."""
        # maxlen is typed as optional; this deque always has one.
        if len(self._hypotheses) < (self._hypotheses.maxlen or 1):
            return 0
        most = min(len(new), *(len(earlier) for earlier in self._hypotheses))
        for i in range(most):
            if any(self._key(earlier[i].text) != self._key(new[i].text) for earlier in self._hypotheses):
                return i
        return most

    def _drop_repeated(self, new: list[Segment]) -> list[Segment]:
        """Drop words at the beginning that repeat the last committed ones.

        The longest repetition is dropped. The original drops the shortest, which would leave one of "the the".
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
