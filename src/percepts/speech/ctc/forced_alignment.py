"""Find when each word of a known text was spoken, by the best path through CTC emissions (Viterbi)."""

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

BAND = 2048  # states followed at once: 1,024 letters, a minute of speech; of a shorter text, all states
IMPOSSIBLE = -1e30


def viterbi(logprobs: np.ndarray, labels: Sequence[int], *, blank: int, band: int = BAND) -> np.ndarray:
    """Return the most probable state of each frame if `labels` are spoken one after another, with blanks between.

    States are blank, label 0, blank, label 1, …, blank: state `s` is `labels[s // 2]` where s is odd. From one frame to
    the next the path stays, goes on by one, or goes from label to label by two unless both are the same (Graves et al.
    2006). Time and memory are frames times `band`. A band narrower than the number of states moves with the best state
    so far: the result is the best path of all unless that path leaves the band.

    Args:
        logprobs: (T, V) natural logarithms of probabilities.
        labels: (N,) columns of `logprobs`, none of them the blank.
        blank: column of the blank.
        band: number of states followed at once, 8 or more.

    Returns:
        (T,) int64, never falling.

    Raises AlignError where the labels need more frames than there are.

    >>> viterbi(np.log([[0.1, 0.9], [0.8, 0.2], [0.2, 0.8]]), [1, 1], blank=0).tolist()
    [1, 2, 3]
    """
    columns = np.asarray(labels, np.int64)
    # Two equal letters in succession need a blank between them: CTC merges repeats.
    needed = len(columns) + int((columns[1:] == columns[:-1]).sum())
    if len(logprobs) < max(needed, 1):
        raise AlignError(f"{len(columns)} letters need {needed} frames or more, and there are {len(logprobs)}")
    state_columns = np.full(2 * len(columns) + 1, blank, np.int64)
    state_columns[1::2] = columns
    skips = np.zeros(len(state_columns), bool)  # whether a state can be reached from the label before its own
    skips[3::2] = columns[1:] != columns[:-1]
    return _trace_backward(
        *_score_forward(logprobs, state_columns, skips, min(len(state_columns), band)), len(state_columns)
    )


def _score_forward(
    logprobs: np.ndarray, column: np.ndarray, skips: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the last score of each state in the band, the steps by frame, and where the band begins."""
    frames, states = len(logprobs), len(column)
    steps = np.zeros((frames, -(-width // 4)), np.uint8)
    begins = np.zeros(frames, np.int64)
    # Two cells before the band stand for the states before it: impossible, like all that left the band.
    score = np.full(width + 2, IMPOSSIBLE)
    score[2:4] = logprobs[0, column[:2]]
    for t in range(1, frames):
        # States from which the end can no longer be reached are dropped, whatever their score.
        late = states - 2 * (frames - t)
        behind = int(begins[t - 1])
        begins[t] = begin = min(max(behind + int(score[2:].argmax()) - width // 2, late, behind), states - width)
        if begin > behind:
            score = np.concatenate([score[begin - behind :], np.full(begin - behind, IMPOSSIBLE)])
        by_two = np.where(skips[begin : begin + width], score[:-2], IMPOSSIBLE)
        best, step = score[2:].copy(), np.zeros(width, np.uint8)
        for number, way in enumerate((score[1:-1], by_two), 1):
            # Strictly better: on a tie the path stays in its state.
            better = way > best
            best[better], step[better] = way[better], number
        score[2:] = best + logprobs[t, column[begin : begin + width]]
        score[:2] = IMPOSSIBLE
        steps[t] = _pack_steps(step)
    return score[2:], steps, begins


def _pack_steps(step: np.ndarray) -> np.ndarray:
    """Pack four steps of two bits into each byte."""
    four = np.pad(step, (0, -len(step) % 4))
    result: np.ndarray = four[0::4] | four[1::4] << 2 | four[2::4] << 4 | four[3::4] << 6
    return result


def _trace_backward(score: np.ndarray, steps: np.ndarray, begins: np.ndarray, states: int) -> np.ndarray:
    """Follow the steps from the last label, or the blank after it, back to the first frame."""
    state = max(range(max(states - 2, 0), states), key=lambda s: score[s - begins[-1]])
    # Half of it, because log probabilities have been added to it on the way.
    if score[state - begins[-1]] <= IMPOSSIBLE / 2:
        raise AlignError("the text does not fit the audio: pass only the part of the audio in which it is spoken")
    path = np.empty(len(steps), np.int64)
    for t in range(len(steps) - 1, -1, -1):
        path[t] = state
        place = int(state - begins[t])
        state -= int(steps[t, place // 4] >> 2 * (place % 4)) & 3
    return path


# Text


@dataclass(frozen=True, slots=True)
class _TextLabels:
    """A text as columns of the emissions: `owners[i]` is the word that `labels[i]` belongs to, -1 for a space."""

    labels: list[int]
    owners: list[int]


def align_text(
    logprobs: np.ndarray, text: str, engine: CTCEngine, *, start: float = 0.0, band: int = BAND
) -> list[Segment]:
    """Return when each word of a known text was spoken: one segment for each line of the text, with its words.

    Letters are looked up as written, then in upper and in lower case. A letter or digit that is not in the vocabulary
    matches any letter; other characters are skipped. A word without letters and digits is placed between its
    neighbours. The score of a word is the mean probability of its letters over its frames: it is low where something
    else was spoken.

    Args:
        logprobs: (T, V), from `percepts.speech.ctc.decode.compute_emissions`.
        text: everything that is spoken in the audio, from beginning to end.
        engine: the engine that computed `logprobs`.
        start: time of the first frame in seconds.
        band: see `viterbi`.

    Raises AlignError for a text without a letter, or with more letters than frames.
    """
    lines, words = split_lines(text)
    spelled = _label_words(words, engine)
    if not any(owner >= 0 for owner in spelled.owners):
        raise AlignError(f"{engine.name}: the text has no letter to align: {text[:60]!r}")
    silent = {"", engine.delimiter, " ", *SILENT_TOKENS}
    letters = [i for i, token in enumerate(engine.vocabulary) if i != engine.blank and token not in silent]
    wild = logprobs[:, letters].max(axis=1, keepdims=True)
    # Two equal columns for letters that the vocabulary lacks: `_label_words` says why.
    table = np.concatenate([logprobs, wild, wild], axis=1)
    path = viterbi(table, spelled.labels, blank=engine.blank, band=band)
    seconds = engine.samples_per_frame / engine.rate
    stop = start + len(logprobs) * seconds
    return build_line_segments(lines, words, _place_words(words, spelled, path, table, start, seconds), start, stop)


def split_lines(text: str) -> tuple[list[list[str]], list[str]]:
    """Return the words of each line that has any, and all words in one list."""
    lines = [line.split() for line in text.splitlines() if line.split()]
    return lines, [word for line in lines for word in line]


def _label_words(words: Sequence[str], engine: CTCEngine) -> _TextLabels:
    """Spell words in columns of the emissions, with the delimiter between two words."""
    table = {token: i for i, token in enumerate(engine.vocabulary) if i != engine.blank and token not in SILENT_TOKENS}
    space = table.get(engine.delimiter or " ")
    wild = len(engine.vocabulary)
    labels: list[int] = []
    owners: list[int] = []
    for number, word in enumerate(words):
        letters = [label for letter in word if (label := _find_label(letter, table, wild)) is not None]
        # The two columns in turn: equal labels would need a blank between them, which two unknown letters may lack.
        letters = [label + i % 2 if label == wild else label for i, label in enumerate(letters)]
        if letters and labels and space is not None:
            labels.append(space)
            owners.append(-1)
        labels += letters
        owners += [number] * len(letters)
    return _TextLabels(labels, owners)


def _find_label(letter: str, table: dict[str, int], wild: int) -> int | None:
    """Return the column of a letter, `wild` for one the vocabulary lacks, None for a character that is not spoken."""
    for form in (letter, letter.upper(), letter.lower()):
        if form in table:
            return table[form]
    return wild if letter.isalnum() else None


def _place_words(
    words: Sequence[str], spelled: _TextLabels, path: np.ndarray, table: np.ndarray, start: float, seconds: float
) -> list[Segment | None]:
    """Return each word with its times and score, None for a word without letters."""
    frames: dict[int, list[int]] = {}  # of each word
    for t, state in enumerate(path.tolist()):
        if state % 2 and (owner := spelled.owners[state // 2]) >= 0:
            frames.setdefault(owner, []).append(t)
    # The 0 stands for the last blank: its state // 2 is one more than the labels.
    labels = np.asarray([*spelled.labels, 0])
    probabilities = np.exp(table[np.arange(len(path)), labels[np.minimum(path // 2, len(labels) - 1)]])
    placed: list[Segment | None] = [None] * len(words)
    for owner, word_frames in frames.items():
        begin, stop = start + word_frames[0] * seconds, start + (word_frames[-1] + 1) * seconds
        placed[owner] = Segment(
            begin, stop, f" {words[owner]}", score=min(float(probabilities[word_frames].mean()), 1.0)
        )
    return placed


def build_line_segments(
    lines: Iterable[Sequence[str]], words: Sequence[str], placed: Sequence[Segment | None], start: float, stop: float
) -> list[Segment]:
    """Build a segment for every line from words that were placed between `start` and `stop`.

    Words that were not placed (None) share the time between their neighbours. The texts are those of `words`.
    """
    timed = iter(list(_fill_words(words, placed, start, stop)))
    return [build_segment([next(timed) for _ in line]) for line in lines]


def _fill_words(words: Sequence[str], placed: Sequence[Segment | None], start: float, stop: float) -> Iterator[Segment]:
    """Yield all words in order, spreading those without a time evenly between their neighbours."""
    before = start
    for is_placed, group in groupby(range(len(words)), key=lambda i: placed[i] is not None):
        places = list(group)
        if is_placed:
            run = [replace(word, text=f" {words[i]}") for i in places if (word := placed[i]) is not None]
            yield from run
            before = run[-1].stop
            continue
        following = placed[places[-1] + 1] if places[-1] + 1 < len(words) else None
        # They share the gap evenly: nothing is known of their lengths.
        step = ((following.start if following else stop) - before) / len(places)
        for number, i in enumerate(places):
            yield Segment(before + number * step, before + (number + 1) * step, f" {words[i]}")
