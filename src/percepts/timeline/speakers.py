"""Turns: segments with a speaker, which may overlap. Who speaks when, how long, and at the same time as whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ..types import Segment
from .segments import sort_segments


@dataclass(frozen=True, slots=True)
class SpeakerSpan:
    """A stretch of time in which the same people speak: nobody, one, or several at once. Seconds."""

    start: float
    stop: float
    speakers: frozenset[str]


def split_by_speakers(turns: Iterable[Segment]) -> Iterator[SpeakerSpan]:
    """The turns laid out on one line, from the first start to the last stop, without gaps.

    A stretch ends where somebody begins or stops. Segments without a speaker are left out.

    >>> both = [Segment(0, 2, "", speaker="Ann"), Segment(1, 3, "", speaker="Ben")]
    >>> [(s.start, s.stop, sorted(s.speakers)) for s in stretches(both)]
    [(0, 1, ['Ann']), (1, 2, ['Ann', 'Ben']), (2, 3, ['Ben'])]
    """
    edges: dict[float, list[tuple[str, int]]] = {}
    for turn in sort_segments(turns):
        if turn.speaker is not None and turn.stop > turn.start:
            edges.setdefault(turn.start, []).append((turn.speaker, 1))
            edges.setdefault(turn.stop, []).append((turn.speaker, -1))
    speaking: dict[str, int] = {}
    since: float | None = None
    for time in sorted(edges):
        if since is not None:
            yield SpeakerSpan(since, time, frozenset(speaking))
        for speaker, step in edges[time]:
            speaking[speaker] = speaking.get(speaker, 0) + step
        speaking = {speaker: count for speaker, count in speaking.items() if count}
        since = time


def merge_turns(turns: Iterable[Segment], gap: float = 0.0) -> list[Segment]:
    """Turns of one speaker that overlap, or lie at most `gap` seconds apart, made one; texts and words are joined."""
    last: dict[str | None, Segment] = {}
    done: list[Segment] = []
    for turn in sort_segments(turns):
        before = last.get(turn.speaker)
        if before is not None and turn.start - before.stop <= gap:
            text = " ".join(text for text in (before.text.strip(), turn.text.strip()) if text)
            stop = max(before.stop, turn.stop)
            last[turn.speaker] = replace(before, stop=stop, text=text, words=before.words + turn.words)
            continue
        if before is not None:
            done.append(before)
        last[turn.speaker] = turn
    return sort_segments([*done, *last.values()])


def remove_overlaps(turns: Iterable[Segment]) -> list[Segment]:
    """One speaker at a time: whoever spoke first keeps the floor until the end of the turn. Text is left out."""
    floor: str | None = None
    found: list[Segment] = []
    for stretch in split_by_speakers(turns):
        if floor not in stretch.speakers:
            floor = min(stretch.speakers, default=None)
        if floor is not None:
            found.append(Segment(stretch.start, stretch.stop, "", speaker=floor))
    return merge_turns(found)


def sum_speaker_seconds(turns: Iterable[Segment]) -> dict[str, float]:
    """How long each speaker speaks, the longest first; own overlaps count once."""
    found: dict[str, float] = {}
    for stretch in split_by_speakers(turns):
        for speaker in stretch.speakers:
            found[speaker] = found.get(speaker, 0.0) + stretch.stop - stretch.start
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
