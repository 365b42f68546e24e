"""Assign a speaker to every word of a transcript, from turns that say who speaks when."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from ..speech.streaming.local_agreement import SENTENCE_ENDS
from ..types import Segment
from .segments import sort_segments

LONGEST = 1.0  # seconds of a word that count; recognisers stretch the last word over the silence after it
FLIP = 0.3  # seconds; a shorter turn between two of another speaker is an error of the diarization


def assign_speakers(segments: Iterable[Segment], turns: Iterable[Segment], *, reach: float = 0.5) -> list[Segment]:
    """Assign a speaker to every word, and cut the segments where the speaker changes.

    A word belongs to whoever speaks for most of it, in case of a tie to the speaker of the word before. A word outside
    all turns belongs to the nearest turn within `reach` seconds, and to None beyond. A single word, or less than 0.3 s,
    between two stretches of one speaker is given to that speaker, unless it is a sentence by itself. A segment without
    words goes to whoever speaks for most of it, uncut.

    >>> answer = Segment(0, 2, "Yes. No.", (Segment(0, 1, "Yes."), Segment(1, 2, " No.")))
    >>> turns = [Segment(0, 1, "", speaker="Ann"), Segment(1, 2, "", speaker="Ben")]
    >>> [(part.speaker, part.text) for part in assign_speakers([answer], turns)]
    [('Ann', 'Yes.'), ('Ben', 'No.')]
    """
    speakers, before, assigned = _SpeakerTurns(turns, reach), None, list[Segment]()
    for segment in sort_segments(segments):
        words = []
        for word in segment.words:
            before = speakers.find_speaker(word.start, min(word.stop, word.start + LONGEST), before)
            words.append(replace(word, speaker=before))
        if words:
            words = _remove_short_runs(words)
            assigned += _cut_segment(segment, words)
            before = words[-1].speaker
        else:
            assigned.append(replace(segment, speaker=speakers.find_speaker(segment.start, segment.stop, before)))
    return assigned


class _SpeakerTurns:
    """Turns, sorted so that the speaker of any stretch is found by bisection."""

    def __init__(self, turns: Iterable[Segment], reach: float) -> None:
        self._turns = [turn for turn in sort_segments(turns) if turn.speaker is not None]
        self._reach = reach
        self._starts = [turn.start for turn in self._turns]
        self._last: list[int] = []  # for each turn, which of those up to it stops last
        for i, turn in enumerate(self._turns):
            later = self._last and self._turns[self._last[-1]].stop > turn.stop
            self._last.append(self._last[-1] if later else i)
        self._stops = [self._turns[i].stop for i in self._last]  # never decreases, so it can be bisected

    def find_speaker(self, start: float, stop: float, before: str | None) -> str | None:
        """Return who speaks for most of a stretch; `before` wins a tie."""
        first, end = bisect_right(self._stops, start), bisect_left(self._starts, stop)
        shares: dict[str, float] = {}
        for turn in self._turns[first:end]:
            share = min(stop, turn.stop) - max(start, turn.start)
            if share > 0 and turn.speaker is not None:
                shares[turn.speaker] = shares.get(turn.speaker, 0.0) + share
        if shares:
            most = max(shares.values())
            best = [name for name, share in shares.items() if share == most]
            return before if before in best else best[0]
        return self._find_nearest(start, stop, first, end)

    def _find_nearest(self, start: float, stop: float, first: int, end: int) -> str | None:
        """Return the speaker of the nearest turn within reach, or None."""
        near = []
        if first > 0:
            near.append((start - self._stops[first - 1], self._turns[self._last[first - 1]]))
        if end < len(self._turns):
            near.append((self._starts[end] - stop, self._turns[end]))
        # A stretch of no length inside a turn overlaps nothing and is in it all the same.
        near += [(0.0, turn) for turn in self._turns[first:end] if turn.start <= start <= turn.stop]
        distance, turn = min(near, key=lambda pair: pair[0], default=(float("inf"), None))
        return turn.speaker if turn is not None and distance <= self._reach else None


def _group_by_speaker(words: Sequence[Segment]) -> list[list[Segment]]:
    """Group the words into runs of one speaker each."""
    return [list(run) for _, run in groupby(words, key=lambda word: word.speaker)]


def _remove_short_runs(words: Sequence[Segment]) -> list[Segment]:
    """Give short runs between two runs of one speaker to that speaker."""
    runs = _group_by_speaker(words)
    for before, run, after in zip(runs, runs[1:], runs[2:], strict=False):
        short = len(run) == 1 or run[-1].stop - run[0].start < FLIP
        if short and before[-1].speaker == after[0].speaker and not _is_own_sentence(before, run):
            run[:] = [replace(word, speaker=before[-1].speaker) for word in run]
    return [word for run in runs for word in run]


def _is_own_sentence(before: Sequence[Segment], run: Sequence[Segment]) -> bool:
    """Return whether a run is a sentence by itself: it ends one, and so does the run before it."""
    return all(words[-1].text.rstrip().endswith(SENTENCE_ENDS) for words in (before, run))


def _cut_segment(segment: Segment, words: Sequence[Segment]) -> Iterator[Segment]:
    """Cut a segment at the runs of its words; outer edges stay those of the segment."""
    runs = _group_by_speaker(words)
    if len(runs) == 1:
        yield replace(segment, words=tuple(words), speaker=words[0].speaker)
        return
    # Whisper's words carry their leading space; those of other engines do not.
    spaced = "".join(word.text for word in words).split() == segment.text.split()
    for i, run in enumerate(runs):
        text = ("" if spaced else " ").join(word.text for word in run).strip()
        start = segment.start if i == 0 else run[0].start
        stop = segment.stop if i == len(runs) - 1 else run[-1].stop
        yield replace(segment, start=start, stop=max(start, stop), text=text, words=tuple(run), speaker=run[0].speaker)
