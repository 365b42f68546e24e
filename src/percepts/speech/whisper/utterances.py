"""Build utterances from the segments of a window and the result of decoding it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...types import Segment
from ..results import Utterance
from .fallback import WindowResult
from .language import Languages
from .word_timestamps import SpokenSegment


def build_utterances(
    segments: Iterable[SpokenSegment], result: WindowResult, languages: Languages, start: float
) -> list[Utterance]:
    """Build the utterances of segments on the clock of the source, whose stream starts at second `start`.

    Segments without text or length are left out.
    """
    spoken = (segment for segment in segments if segment.text.strip() and segment.stop > segment.start)
    return [_build_utterance(segment, result, languages, start) for segment in spoken]


def _build_utterance(segment: SpokenSegment, result: WindowResult, languages: Languages, start: float) -> Utterance:
    words = tuple(
        Segment(_to_source_time(word.start, start), _to_source_time(word.stop, start), word.text, score=word.prob)
        for word in segment.words
    )
    # Words have their own probabilities; the score of the utterance is that of the window it was decoded in.
    decoded = result.decoded
    return Utterance(
        _to_source_time(segment.start, start), _to_source_time(segment.stop, start), segment.text.strip(), words,
        score=math.exp(decoded.avg_logprob), language=languages.code, language_prob=languages.prob,
        tokens=segment.tokens, temperature=result.temperature, avg_logprob=decoded.avg_logprob,
        compression_ratio=result.compression_ratio, no_speech_prob=decoded.no_speech_prob,
    )  # fmt: skip


def _to_source_time(seconds: float, start: float) -> float:
    """Convert seconds of the stream to seconds of the source, after rounding them to hundredths (frames of 10 ms)."""
    return start + round(seconds * 100) / 100
