"""Pieces with words in, those that somebody can have said out: silence around improbable words makes them made up.

The rules of openai/whisper's `hallucination_silence_threshold`.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from .word_timestamps import SpokenSegment, TimedWord

IMPROBABLE, SHORT, LONG = 0.15, 0.133, 2.0
"""Of a word: probability, and seconds that it hardly lasts and hardly exceeds."""
LOOKED_AT, DOUBTFUL = 8, 3.0
"""Words of a piece, and the sum of their anomalies from which on it is doubted."""
EDGE = 2.0  # seconds from the edge of a window that count as silence


@dataclass(frozen=True, slots=True)
class FilterResult:
    """The pieces that stay, and the second at which to go on, where it is not where it would have been."""

    pieces: list[SpokenSegment]
    resume_at: float | None = None


def drop_hallucinated(
    pieces: Sequence[SpokenSegment], silence: float, start: float, stop: float, before: float
) -> FilterResult:
    """Drop what was made up in the window from `start` to `stop`, seconds; `before` is where speech ended last.

    A doubtful first piece after more than `silence` seconds: all is heard again, from it on. A doubtful piece
    with silence, doubtful pieces or the window's edges around it: it and what follows are dropped.
    """
    worded = [piece for piece in pieces if piece.words]
    if worded and is_anomalous(worded[0]) and worded[0].start - start > silence:
        return FilterResult([], worded[0].start)
    for i, piece in enumerate(worded):
        after = worded[i + 1] if i + 1 < len(worded) else None
        if is_anomalous(piece) and _is_isolated(piece, after, silence, start, stop, before):
            return FilterResult(list(pieces[: pieces.index(piece)]), max(start + 1, piece.start))
        before = piece.stop
    return FilterResult(list(pieces))


def is_anomalous(piece: SpokenSegment) -> bool:
    """Whether the first words of a piece are improbable, too short or too long to have been said."""
    words = [word for word in piece.words if word.text.strip() not in string.punctuation][:LOOKED_AT]
    score = sum(map(_score_anomaly, words))
    return bool(words) and (score >= DOUBTFUL or score + 0.01 >= len(words))


def _score_anomaly(word: TimedWord) -> float:
    score = 1.0 if word.prob < IMPROBABLE else 0.0
    return score + max(0.0, SHORT - word.length) * 15 + max(0.0, word.length - LONG)


def _is_isolated(
    piece: SpokenSegment, after: SpokenSegment | None, silence: float, start: float, stop: float, before: float
) -> bool:
    next_word = stop if after is None else after.words[0].start
    quiet_before = piece.start - before > silence or piece.start < silence or piece.start - start < EDGE
    doubtful_after = after is not None and is_anomalous(after)
    return quiet_before and (next_word - piece.stop > silence or doubtful_after or stop - piece.stop < EDGE)
