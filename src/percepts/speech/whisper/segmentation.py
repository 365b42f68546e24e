"""Split the tokens of a window into segments at its timestamps, and say how far the window was transcribed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..engines import WhisperVocabulary

FRAMES = 2
"""Frames of 10 ms in one timestamp step of 20 ms."""


@dataclass(frozen=True, slots=True)
class TimedTokens:
    """Tokens with the first and last frame of the stream at which they are said."""

    start: int
    stop: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WindowSegments:
    """The segments of one window.

    segments  tokens with their times
    advance   frames that are done; the next window begins after them
    ending    the last timestamp ends what is said: the end of the window did not break off a word
    """

    segments: tuple[TimedTokens, ...]
    advance: int
    ending: bool


def split_at_timestamps(
    tokens: Sequence[int], vocabulary: WhisperVocabulary, at: int, size: int, *, last: bool = False
) -> WindowSegments:
    """Split the tokens of the window of `size` frames from frame `at` on, wherever two timestamps stand side by side.

    What follows the last such pair is unfinished and is left to the next window, unless this is the `last` window. A
    window without a pair is one segment.
    """
    begin = vocabulary.timestamps
    times = [token >= begin for token in tokens]
    # A single timestamp at the end closes the text; two mean that the next segment has begun.
    ending = times[-2:] == [False, True]
    places = [i for i, (a, b) in enumerate(pairwise(times), start=1) if a and b]
    if not places:
        later = [token for token in tokens if token > begin]  # <|0.00|> says nothing about the end
        stop = min((later[-1] - begin) * FRAMES, size) if later else size
        return WindowSegments((TimedTokens(at, at + stop, tuple(tokens)),), size, ending)
    advance = size if ending or last else (tokens[places[-1] - 1] - begin) * FRAMES
    if ending or last:
        places.append(len(tokens))
    segments = []
    for first, place in pairwise([0, *places]):
        part = tuple(tokens[first:place])
        start = at + (part[0] - begin) * FRAMES if part[0] >= begin else at
        stop = at + (part[-1] - begin) * FRAMES if part[-1] >= begin and len(part) > 1 else at + size
        if start < at + size:  # after the end of the audio there is only padding
            segments.append(TimedTokens(start, min(max(start, stop), at + size), part))
    return WindowSegments(tuple(segments), advance, ending)
