"""Letters a frame and a known text in, when each word of it was said out: the best path, by Viterbi."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from ...errors import AlignError
from ...types import Segment
from .decode import SILENT_TOKENS, build_segment

if TYPE_CHECKING:
    from ..engines import CTCEngine

BAND = 2048  # states that are followed at once, 1,024 letters, a minute of speech; a shorter text is followed whole
IMPOSSIBLE = -1e30


def viterbi(logprobs: np.ndarray, labels: Sequence[int], *, blank: int, band: int = BAND) -> np.ndarray:
    """The likeliest way in which `labels` were said one after another, with blanks between: where each frame is in it.

    States are blank, label 0, blank, label 1, …, blank: state `s` is `labels[s // 2]` where s is odd. From one frame to
    the next it stays, goes on by one, or from label to label by two unless both are the same (Graves et al. 2006). Time
    and memory are frames times `band`. A band narrower than the states moves with the likeliest state so far: the path
    is the best of all unless that one strays from it by more than half a band.

    Args:
        logprobs: (T, V) natural logarithms of probabilities.
        labels: (N,) columns, none of them the blank.
        blank: its column.
        band: states, 8 or more.

    Returns:
        (T,) int64, never falling.

    Raises AlignError where the labels need more frames than there are.

    >>> viterbi(np.log([[0.1, 0.9], [0.8, 0.2], [0.2, 0.8]]), [1, 1], blank=0).tolist()
    [1, 2, 3]
    """
    wanted = np.asarray(labels, np.int64)
    needed = len(wanted) + int((wanted[1:] == wanted[:-1]).sum())
    if len(logprobs) < max(needed, 1):
        raise AlignError(f"{len(wanted)} letters need {needed} frames or more, and there are {len(logprobs)}")
    column = np.full(2 * len(wanted) + 1, blank, np.int64)
    column[1::2] = wanted
    skips = np.zeros(len(column), bool)  # whether a state is reached from the label before its own
    skips[3::2] = wanted[1:] != wanted[:-1]
    return _trace_backward(*_score_forward(logprobs, column, skips, min(len(column), band)), len(column))


def _score_forward(
    logprobs: np.ndarray, column: np.ndarray, skips: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The last score of each state of the band, how each was reached in each frame, and where the band begins there."""
    frames, states = len(logprobs), len(column)
    steps = np.zeros((frames, -(-width // 4)), np.uint8)
    begins = np.zeros(frames, np.int64)
    # Two cells before the band stand for the states before it: impossible, as whatever left the band is.
    score = np.full(width + 2, IMPOSSIBLE)
    score[2:4] = logprobs[0, column[:2]]
    for t in range(1, frames):
        # States from which the end cannot be reached any more are let go whatever their score.
        late = states - 2 * (frames - t)
        behind = int(begins[t - 1])
        begins[t] = begin = min(max(behind + int(score[2:].argmax()) - width // 2, late, behind), states - width)
        if begin > behind:
            score = np.concatenate([score[begin - behind :], np.full(begin - behind, IMPOSSIBLE)])
        by_two = np.where(skips[begin : begin + width], score[:-2], IMPOSSIBLE)
        best, step = score[2:].copy(), np.zeros(width, np.uint8)
        for number, way in enumerate((score[1:-1], by_two), 1):
            better = way > best
            best[better], step[better] = way[better], number
        score[2:] = best + logprobs[t, column[begin : begin + width]]
        score[:2] = IMPOSSIBLE
        steps[t] = _pack_steps(step)
    return score[2:], steps, begins


def _pack_steps(step: np.ndarray) -> np.ndarray:
    """Two bits a state."""
    four = np.pad(step, (0, -len(step) % 4))
    result: np.ndarray = four[0::4] | four[1::4] << 2 | four[2::4] << 4 | four[3::4] << 6
    return result


def _trace_backward(score: np.ndarray, steps: np.ndarray, begins: np.ndarray, states: int) -> np.ndarray:
    """From the last label, or the blank after it, to the first frame."""
    at = max(range(max(states - 2, 0), states), key=lambda s: score[s - begins[-1]])
    if score[at - begins[-1]] <= IMPOSSIBLE / 2:
        raise AlignError("the text and the sound are too far apart to follow: give the stretch in which it is said")
    path = np.empty(len(steps), np.int64)
    for t in range(len(steps) - 1, -1, -1):
        path[t] = at
        place = int(at - begins[t])
        at -= int(steps[t, place // 4] >> 2 * (place % 4)) & 3
    return path


# Text


@dataclass(frozen=True, slots=True)
class _TextLabels:
    """A text as labels: the columns, of each the word it belongs to (-1: the space between two)."""

    labels: list[int]
    owners: list[int]


def align_text(
    logprobs: np.ndarray, text: str, engine: CTCEngine, *, start: float = 0.0, band: int = BAND
) -> list[Segment]:
    """When each word of a known text was said: a segment for every line of the text, with its words.

    Letters are looked for as they are, in capitals and in small letters; those that the vocabulary has not, such as
    digits, count as any letter at all, other signs as nothing. A word of signs alone stands between its neighbours.
    The score of a word is the mean probability of its letters, frame by frame: low where something else was said.

    Args:
        logprobs: (T, V), from `percepts.speech.ctc.decode.compute_emissions`.
        text: what is said in them, from beginning to end.
        engine: what gave them.
        start: seconds of the first frame.
        band: see `viterbi`.

    Raises AlignError for a text without a letter, or with more letters than frames.
    """
    lines, said = split_lines(text)
    spelled = _label_words(said, engine)
    if not any(owner >= 0 for owner in spelled.owners):
        raise AlignError(f"{engine.name}: the text has no letter that could be looked for: {text[:60]!r}")
    silent = {"", engine.delimiter, " ", *SILENT_TOKENS}
    letters = [i for i, token in enumerate(engine.vocabulary) if i != engine.blank and token not in silent]
    wild = logprobs[:, letters].max(axis=1, keepdims=True)
    table = np.concatenate([logprobs, wild, wild], axis=1)
    path = viterbi(table, spelled.labels, blank=engine.blank, band=band)
    seconds = engine.samples_per_frame / engine.rate
    stop = start + len(logprobs) * seconds
    return build_line_segments(lines, said, _place_words(said, spelled, path, table, start, seconds), start, stop)


def split_lines(text: str) -> tuple[list[list[str]], list[str]]:
    """The words of each line that has any, and all of them in a row."""
    lines = [line.split() for line in text.splitlines() if line.split()]
    return lines, [word for line in lines for word in line]


def _label_words(words: Sequence[str], engine: CTCEngine) -> _TextLabels:
    table = {token: i for i, token in enumerate(engine.vocabulary) if i != engine.blank and token not in SILENT_TOKENS}
    space = table.get(engine.delimiter or " ")
    wild = len(engine.vocabulary)
    labels: list[int] = []
    owners: list[int] = []
    for number, word in enumerate(words):
        letters = [label for letter in word if (label := _find_label(letter, table, wild)) is not None]
        # Of two such columns in turn: a letter said twice needs a blank between, any two letters do not.
        letters = [label + i % 2 if label == wild else label for i, label in enumerate(letters)]
        if letters and labels and space is not None:
            labels.append(space)
            owners.append(-1)
        labels += letters
        owners += [number] * len(letters)
    return _TextLabels(labels, owners)


def _find_label(letter: str, table: dict[str, int], wild: int) -> int | None:
    for form in (letter, letter.upper(), letter.lower()):
        if form in table:
            return table[form]
    return wild if letter.isalnum() else None


def _place_words(
    words: Sequence[str], spelled: _TextLabels, path: np.ndarray, table: np.ndarray, start: float, seconds: float
) -> list[Segment | None]:
    """Each word where its letters are; None for those without."""
    frames: dict[int, list[int]] = {}  # of each word
    for t, state in enumerate(path.tolist()):
        if state % 2 and (owner := spelled.owners[state // 2]) >= 0:
            frames.setdefault(owner, []).append(t)
    labels = np.asarray([*spelled.labels, 0])
    chosen = np.exp(table[np.arange(len(path)), labels[np.minimum(path // 2, len(labels) - 1)]])
    found: list[Segment | None] = [None] * len(words)
    for owner, held in frames.items():
        begin, stop = start + held[0] * seconds, start + (held[-1] + 1) * seconds
        found[owner] = Segment(begin, stop, f" {words[owner]}", score=min(float(chosen[held].mean()), 1.0))
    return found


def build_line_segments(
    lines: Iterable[Sequence[str]], words: Sequence[str], found: Sequence[Segment | None], start: float, stop: float
) -> list[Segment]:
    """A segment for every line, of words that were placed between `start` and `stop` and those that were not.

    Words that were not (None) share the time between their neighbours. All are called as in `words`.
    """
    whole = iter(list(_fill_words(words, found, start, stop)))
    return [build_segment([next(whole) for _ in line]) for line in lines]


def _fill_words(words: Sequence[str], found: Sequence[Segment | None], start: float, stop: float) -> Iterator[Segment]:
    before = start
    for placed, group in groupby(range(len(words)), key=lambda i: found[i] is not None):
        places = list(group)
        if placed:
            held = [replace(word, text=f" {words[i]}") for i in places if (word := found[i]) is not None]
            yield from held
            before = held[-1].stop
            continue
        following = found[places[-1] + 1] if places[-1] + 1 < len(words) else None
        step = ((following.start if following else stop) - before) / len(places)
        for number, i in enumerate(places):
            yield Segment(before + number * step, before + (number + 1) * step, f" {words[i]}")
