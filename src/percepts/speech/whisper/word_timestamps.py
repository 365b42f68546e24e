"""Give the segments of a window words with times, from the alignment of its tokens.

The rules about long words beside pauses and sentence ends are those of openai/whisper's timing.py: cross-attention
assigns silence to the word before or after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ..engines import TICK_S, TokenAlignment, WhisperVocabulary
from .segmentation import TimedTokens
from .word_grouping import AFTER, BEFORE, group_tokens_into_words

ENDS = frozenset(".。!！?？")
LONGEST = 0.7  # seconds: upper limit of the median length of a word
LEEWAY = 0.5  # seconds: beyond this difference the times of a segment win over those of its words


@dataclass(slots=True)
class TimedWord:
    """A word while its times are being determined, in seconds of the stream."""

    text: str
    start: float
    stop: float
    prob: float
    count: int  # number of tokens

    @property
    def length(self) -> float:
        """The length in seconds."""
        return self.stop - self.start


@dataclass(slots=True)
class SpokenSegment:
    """A segment with its words, once they are known; `start` and `stop` in seconds of the stream."""

    start: float
    stop: float
    tokens: tuple[int, ...]
    text: str
    words: list[TimedWord] = field(default_factory=list)


def decode_segments(segments: Sequence[TimedTokens], vocabulary: WhisperVocabulary) -> list[SpokenSegment]:
    """Decode the text of segments; their words are added by `add_words`."""
    rows = ((segment, [token for token in segment.tokens if token < vocabulary.eot]) for segment in segments)
    return [
        SpokenSegment(segment.start / 100, segment.stop / 100, segment.tokens, vocabulary.text.decode(text))
        for segment, text in rows
    ]


def select_text_tokens(segments: Sequence[SpokenSegment], vocabulary: WhisperVocabulary) -> list[int]:
    """Return the tokens that are aligned: the text of all segments, without timestamps."""
    return [token for segment in segments for token in segment.tokens if token < vocabulary.eot]


def add_words(
    segments: Sequence[SpokenSegment],
    alignment: TokenAlignment,
    vocabulary: WhisperVocabulary,
    language: str,
    start: float,
    before: float,
) -> None:
    """Add words to the segments of the window that starts at second `start`; speech ended last at second `before`.

    The times of a segment become those of its words where the two are close.
    """
    words = _time_words(select_text_tokens(segments, vocabulary), alignment, vocabulary, language, start)
    lengths = [word.length for word in words if word.length > 0]
    # The median, since a few words hold pauses and are far too long.
    usual = min(LONGEST, float(np.median(lengths))) if lengths else 0.0
    _shorten_at_ends(words, 2 * usual)
    counts = [sum(token < vocabulary.eot for token in segment.tokens) for segment in segments]
    for segment, own_words in zip(segments, _share_words(_join_punctuation(words), counts), strict=True):
        if own_words:
            segment.words = own_words
            _adjust_edges(segment, before, usual)
            before = segment.stop


def _time_words(
    tokens: Sequence[int], alignment: TokenAlignment, vocabulary: WhisperVocabulary, language: str, start: float
) -> list[TimedWord]:
    """Group tokens into words, each with the times at which the path reaches its first token and the next word."""
    begins = np.diff(alignment.tokens, prepend=-1) > 0  # where the path comes to the next token
    times = alignment.frames[begins] * TICK_S
    out, at = [], 0
    for text, word_tokens in group_tokens_into_words(tokens, vocabulary.text, language):
        end = at + len(word_tokens)
        prob = float(np.mean(alignment.probs[at:end]))
        out.append(TimedWord(text, start + float(times[at]), start + float(times[end]), prob, len(word_tokens)))
        at = end
    return out


def _shorten_at_ends(words: Sequence[TimedWord], most: float) -> None:
    """Shorten punctuation that ends a sentence, and the word after it, to at most `most` seconds."""
    for previous, word in pairwise(words):
        if word.length > most > 0:
            if word.text.strip() in ENDS:
                word.stop = word.start + most
            elif previous.text.strip() in ENDS:
                word.start = word.stop - most


def _join_punctuation(words: Sequence[TimedWord]) -> list[TimedWord]:
    """Join punctuation to its words, which keep their times."""
    joined: list[TimedWord] = []
    # A quotation mark or bracket waits here for the word after it.
    opening: TimedWord | None = None
    for word in words:
        mark = word.text.strip()
        if opening is not None:
            word = TimedWord(opening.text + word.text, word.start, word.stop, word.prob, opening.count + word.count)
            opening = None
        if mark and mark in BEFORE and word.text.startswith(" "):
            opening = word
        elif joined and mark and mark in AFTER and not joined[-1].text.endswith(" "):
            joined[-1].text += word.text
            joined[-1].count += word.count
        else:
            joined.append(word)
    return joined if opening is None else [*joined, opening]


def _share_words(words: Sequence[TimedWord], counts: Sequence[int]) -> list[list[TimedWord]]:
    """Distribute the words by the token counts of the segments; a word across an edge goes to the first of the two."""
    rest, shares = list(words), []
    carried = 0
    for count in counts:
        share: list[TimedWord] = []
        carried -= count
        while rest and carried < 0:
            share.append(rest.pop(0))
            carried += share[-1].count
        shares.append(share)
    return shares


def _adjust_edges(segment: SpokenSegment, before: float, usual: float) -> None:
    """Shorten words that reach into a pause, and make segment and words agree on where they begin and end."""
    first, last, most = segment.words[0], segment.words[-1], 2 * usual
    second = segment.words[1] if len(segment.words) > 1 else None
    paused = first.stop - before > 4 * usual
    # Neither the first word after a pause nor the two first together may be long: they would hold the pause.
    if paused and (first.length > most or (second is not None and second.stop - first.start > 2 * most)):
        if second is not None and second.length > most:
            first.stop = second.start = max(second.start + second.length / 2, second.stop - most)
        first.start = max(0.0, first.stop - most)
    # The start of the segment wins where the first word begins much earlier.
    if segment.start < first.stop and segment.start - LEEWAY > first.start:
        first.start = max(0.0, min(first.stop - usual, segment.start))
    segment.start = first.start
    # The same for its end and the last word.
    if segment.stop > last.start and segment.stop + LEEWAY < last.stop:
        last.stop = max(last.start + usual, segment.stop)
    segment.stop = last.stop
