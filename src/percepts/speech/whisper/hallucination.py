"""Drop hallucinated segments: improbable words surrounded by silence.

The rules are those of openai/whisper's `hallucination_silence_threshold`.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from .word_timestamps import SpokenSegment, TimedWord

IMPROBABLE, SHORT, LONG = 0.15, 0.133, 2.0
"""Limits of an ordinary word: its least probability, and its least and greatest length in seconds."""
LOOKED_AT, DOUBTFUL = 8, 3.0
"""Words of a segment that are scored, and the sum of their scores from which on the segment is an anomaly."""
EDGE = 2.0  # seconds: a segment this close to the edge of its window counts as having silence there


@dataclass(frozen=True, slots=True)
class FilterResult:
    """The segments that stay.

    resume_at  second of the stream at which the next window begins; None: where it would have begun anyway
    """

    segments: list[SpokenSegment]
    resume_at: float | None = None


def drop_hallucinated(
    segments: Sequence[SpokenSegment], silence: float, start: float, stop: float, before: float
) -> FilterResult:
    """Drop segments that were made up in the window from `start` to `stop`, in seconds; speech ended last at `before`.

    If the first segment is an anomaly after more than `silence` seconds, all is decoded again from there on. A later
    anomaly between silences, other anomalies or the window's edges is dropped with everything after it.
    """
    worded = [segment for segment in segments if segment.words]
    if worded and is_anomalous(worded[0]) and worded[0].start - start > silence:
        return FilterResult([], worded[0].start)
    for i, segment in enumerate(worded):
        after = worded[i + 1] if i + 1 < len(worded) else None
        if is_anomalous(segment) and _is_isolated(segment, after, silence, start, stop, before):
            # At least a second further, or the next window would be this one again.
            return FilterResult(list(segments[: segments.index(segment)]), max(start + 1, segment.start))
        before = segment.stop
    return FilterResult(list(segments))


def is_anomalous(segment: SpokenSegment) -> bool:
    """Return whether the first words of a segment are too improbable, too short or too long to have been said."""
    words = [word for word in segment.words if word.text.strip() not in string.punctuation][:LOOKED_AT]
    score = sum(map(_score_anomaly, words))
    # Short segments: every word is an anomaly, to openai/whisper's rounding of 0.01.
    return bool(words) and (score >= DOUBTFUL or score + 0.01 >= len(words))


def _score_anomaly(word: TimedWord) -> float:
    """Score how unlikely a word is: 0 for an ordinary one. The weights are openai/whisper's."""
    score = 1.0 if word.prob < IMPROBABLE else 0.0
    return score + max(0.0, SHORT - word.length) * 15 + max(0.0, word.length - LONG)


def _is_isolated(
    segment: SpokenSegment, after: SpokenSegment | None, silence: float, start: float, stop: float, before: float
) -> bool:
    """Return whether a segment stands alone: silence or an edge before it; silence, an edge or an anomaly after it.

    `after` is the next segment, `before` the end of the speech before this one; the other times are as in
    `drop_hallucinated`.
    """
    next_word = stop if after is None else after.words[0].start
    quiet_before = segment.start - before > silence or segment.start < silence or segment.start - start < EDGE
    doubtful_after = after is not None and is_anomalous(after)
    return quiet_before and (next_word - segment.stop > silence or doubtful_after or stop - segment.stop < EDGE)
