"""Merge, split and add up turns: segments with a speaker, which may overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ..types import Segment
from .segments import sort_segments


@dataclass(frozen=True, slots=True)
class SpeakerSpan:
    """A span of time in which the same people speak: nobody, one, or several at once. Seconds."""

    start: float
    stop: float
    speakers: frozenset[str]


def split_by_speakers(turns: Iterable[Segment]) -> Iterator[SpeakerSpan]:
    """Yield spans without gaps, from the first start to the last stop; a span ends where somebody begins or stops.

    Segments without a speaker are left out.

    >>> both = [Segment(0, 2, "", speaker="Ann"), Segment(1, 3, "", speaker="Ben")]
    >>> [(s.start, s.stop, sorted(s.speakers)) for s in split_by_speakers(both)]
    [(0, 1, ['Ann']), (1, 2, ['Ann', 'Ben']), (2, 3, ['Ben'])]
    """
    edges: dict[float, list[tuple[str, int]]] = {}
    for turn in sort_segments(turns):
        if turn.speaker is not None and turn.stop > turn.start:  # nobody speaks in a turn of no length
            edges.setdefault(turn.start, []).append((turn.speaker, 1))
            edges.setdefault(turn.stop, []).append((turn.speaker, -1))
    # Counts and not a set: turns of one speaker may overlap each other.
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
    """Merge turns of one speaker that overlap or are at most `gap` seconds apart; texts and words are joined."""
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
    """Keep one speaker at a time: whoever spoke first, until the end of the turn. Text is left out."""
    speaker: str | None = None
    spans: list[Segment] = []
    for span in split_by_speakers(turns):
        # By name where several begin at once, so that the result does not depend on the order of the turns.
        if speaker not in span.speakers:
            speaker = min(span.speakers, default=None)
        if speaker is not None:
            spans.append(Segment(span.start, span.stop, "", speaker=speaker))
    return merge_turns(spans)


def sum_speaker_seconds(turns: Iterable[Segment]) -> dict[str, float]:
    """Return how long each speaker speaks, the longest first; a speaker's own overlaps count once."""
    totals: dict[str, float] = {}
    for span in split_by_speakers(turns):
        for speaker in span.speakers:
            totals[speaker] = totals.get(speaker, 0.0) + span.stop - span.start
    return dict(sorted(totals.items(), key=lambda pair: (-pair[1], pair[0])))  # by name in case of a tie
