"""Tokens of a window in, its segments out, and how far the window was transcribed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..engines import WhisperVocabulary

FRAMES = 2
"""Frames of 10 ms to a tick of 20 ms."""


@dataclass(frozen=True, slots=True)
class TimedTokens:
    """Tokens and where they begin and end: frames of the stream."""

    start: int
    stop: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WindowSegments:
    """The pieces of a window.

    advance  frames that are done; the next window begins there
    ending   the last time ends what is said: no word was broken off by the end of the window
    """

    pieces: tuple[TimedTokens, ...]
    advance: int
    ending: bool


def split_at_timestamps(
    tokens: Sequence[int], vocabulary: WhisperVocabulary, at: int, size: int, *, last: bool = False
) -> WindowSegments:
    """Cut the tokens of the window of `size` frames from frame `at` on, where one time follows another.

    What follows the last such pair is unfinished, and is left to the next window, unless this is the `last`; without a
    pair it is all there is.
    """
    begin = vocabulary.timestamps
    times = [token >= begin for token in tokens]
    ending = times[-2:] == [False, True]
    places = [i for i, (a, b) in enumerate(pairwise(times), start=1) if a and b]
    if not places:
        said = [token for token in tokens if token > begin]  # <|0.00|> says nothing about the end
        stop = min((said[-1] - begin) * FRAMES, size) if said else size
        return WindowSegments((TimedTokens(at, at + stop, tuple(tokens)),), size, ending)
    advance = size if ending or last else (tokens[places[-1] - 1] - begin) * FRAMES
    if ending or last:
        places.append(len(tokens))
    pieces = []
    for first, place in pairwise([0, *places]):
        part = tuple(tokens[first:place])
        start = at + (part[0] - begin) * FRAMES if part[0] >= begin else at
        stop = at + (part[-1] - begin) * FRAMES if part[-1] >= begin and len(part) > 1 else at + size
        if start < at + size:  # after the end of the sound there is padding, and nobody speaks
            pieces.append(TimedTokens(start, min(max(start, stop), at + size), part))
    return WindowSegments(tuple(pieces), advance, ending)
