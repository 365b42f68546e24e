"""Pieces of a window and the path of its tokens in, words with their times out.

The rules about long words around pauses and sentence ends are those of openai/whisper's timing.py: cross-attention
leaves silence to the word before or after it.
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
LONGEST = 0.7  # seconds: no median word is longer
LEEWAY = 0.5  # seconds by which the times of a segment are preferred to those of its words


@dataclass(slots=True)
class TimedWord:
    """A word while its times are being found. Seconds of the stream."""

    text: str
    start: float
    stop: float
    prob: float
    count: int  # of tokens

    @property
    def length(self) -> float:
        """Seconds."""
        return self.stop - self.start


@dataclass(slots=True)
class SpokenSegment:
    """A piece with its words, once they are known; `start` and `stop` in seconds of the stream."""

    start: float
    stop: float
    tokens: tuple[int, ...]
    text: str
    words: list[TimedWord] = field(default_factory=list)


def decode_segments(pieces: Sequence[TimedTokens], vocabulary: WhisperVocabulary) -> list[SpokenSegment]:
    """Pieces with their text and times; without words yet."""
    rows = ((piece, [token for token in piece.tokens if token < vocabulary.eot]) for piece in pieces)
    return [
        SpokenSegment(piece.start / 100, piece.stop / 100, piece.tokens, vocabulary.text.decode(text))
        for piece, text in rows
    ]


def select_text_tokens(pieces: Sequence[SpokenSegment], vocabulary: WhisperVocabulary) -> list[int]:
    """Those that are aligned: of all pieces, times left out."""
    return [token for piece in pieces for token in piece.tokens if token < vocabulary.eot]


def add_words(
    pieces: Sequence[SpokenSegment],
    alignment: TokenAlignment,
    vocabulary: WhisperVocabulary,
    language: str,
    start: float,
    before: float,
) -> None:
    """Give the pieces of the window that starts at so many seconds their words; `before` is where speech ended last.

    The pieces' own times become those of their words where the two are close.
    """
    words = _time_words(select_text_tokens(pieces, vocabulary), alignment, vocabulary, language, start)
    lengths = [word.length for word in words if word.length > 0]
    usual = min(LONGEST, float(np.median(lengths))) if lengths else 0.0
    _shorten_at_ends(words, 2 * usual)
    counts = [sum(token < vocabulary.eot for token in piece.tokens) for piece in pieces]
    for piece, mine in zip(pieces, _share_words(_join_punctuation(words), counts), strict=True):
        if mine:
            piece.words = mine
            _settle(piece, before, usual)
            before = piece.stop


def _time_words(
    tokens: Sequence[int], alignment: TokenAlignment, vocabulary: WhisperVocabulary, language: str, start: float
) -> list[TimedWord]:
    begins = np.diff(alignment.tokens, prepend=-1) > 0  # where the path comes to the next token
    times = alignment.frames[begins] * TICK_S
    out, at = [], 0
    for text, mine in group_tokens_into_words(tokens, vocabulary.text, language):
        end = at + len(mine)
        prob = float(np.mean(alignment.probs[at:end]))
        out.append(TimedWord(text, start + float(times[at]), start + float(times[end]), prob, len(mine)))
        at = end
    return out


def _shorten_at_ends(words: Sequence[TimedWord], most: float) -> None:
    """A mark that ends a sentence, or the word after it, is given no more than twice the usual time."""
    for previous, word in pairwise(words):
        if word.length > most > 0:
            if word.text.strip() in ENDS:
                word.stop = word.start + most
            elif previous.text.strip() in ENDS:
                word.start = word.stop - most


def _join_punctuation(words: Sequence[TimedWord]) -> list[TimedWord]:
    """Marks put to their words; the times are those of the word."""
    found: list[TimedWord] = []
    opening: TimedWord | None = None
    for word in words:
        mark = word.text.strip()
        if opening is not None:
            word = TimedWord(opening.text + word.text, word.start, word.stop, word.prob, opening.count + word.count)
            opening = None
        if mark and mark in BEFORE and word.text.startswith(" "):
            opening = word
        elif found and mark and mark in AFTER and not found[-1].text.endswith(" "):
            found[-1].text += word.text
            found[-1].count += word.count
        else:
            found.append(word)
    return found if opening is None else [*found, opening]


def _share_words(words: Sequence[TimedWord], counts: Sequence[int]) -> list[list[TimedWord]]:
    """The words of each piece, by how many tokens it has; a word over an edge belongs to the piece it begins in."""
    rest, found = list(words), []
    carried = 0
    for count in counts:
        mine: list[TimedWord] = []
        carried -= count
        while rest and carried < 0:
            mine.append(rest.pop(0))
            carried += mine[-1].count
        found.append(mine)
    return found


def _settle(piece: SpokenSegment, before: float, usual: float) -> None:
    first, last, most = piece.words[0], piece.words[-1], 2 * usual
    second = piece.words[1] if len(piece.words) > 1 else None
    paused = first.stop - before > 4 * usual
    if paused and (first.length > most or (second is not None and second.stop - first.start > 2 * most)):
        if second is not None and second.length > most:
            first.stop = second.start = max(second.start + second.length / 2, second.stop - most)
        first.start = max(0.0, first.stop - most)
    if piece.start < first.stop and piece.start - LEEWAY > first.start:
        first.start = max(0.0, min(first.stop - usual, piece.start))
    piece.start = first.start
    if piece.stop > last.start and piece.stop + LEEWAY < last.stop:
        last.stop = max(last.start + usual, piece.stop)
    piece.stop = last.stop
