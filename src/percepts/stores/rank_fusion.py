"""Merge ranked lists of hits by reciprocal rank: what ranks high in several lists comes first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..types import Record
from .scoring import Hit, Match

RANK = 60
"""The n-th hit of a list gets 1 / (60 + n), whatever its scores mean: Cormack, Clarke and Büttcher, SIGIR 2009."""


def reciprocal_rank_fusion(lists: Sequence[Iterable[Hit]], k: int) -> list[Hit]:
    """Return the k best moments of all lists by reciprocal rank, best first; of equal score by source, then start.

    Hits of one source whose times overlap are one moment, and so are hits of one image. Two hits of one list are never
    one moment. `score` is the sum over the lists.
    """
    moments: defaultdict[str, list[_Moment]] = defaultdict(list)
    for number, hits in enumerate(lists):
        for rank, hit in enumerate(hits, 1):
            beside = moments[hit.record.source]
            same = next((m for m in beside if number not in m.lists and _share_a_moment(m.record, hit.record)), None)
            if same is None:
                beside.append(same := _Moment(hit.record))
            same.add(number, hit, 1 / (RANK + rank))
    ordered = sorted(
        (moment for beside in moments.values() for moment in beside),
        key=lambda m: (-m.score, m.record.source, m.record.start),
    )
    return [Hit(m.record, m.score, tuple(m.matches)) for m in ordered[:k]]


@dataclass(slots=True)
class _Moment:
    record: Record
    score: float = 0.0
    matches: list[Match] = field(default_factory=list)
    lists: set[int] = field(default_factory=set)

    def add(self, number: int, hit: Hit, gain: float) -> None:
        self.lists.add(number)
        self.score += gain
        self.matches += hit.matches
        self.record = _fill_missing(self.record, hit.record)


def _fill_missing(first: Record, other: Record) -> Record:
    """Return the first record, with the text and the labels of the other where it has none."""
    if other.text is not None and first.text is None:
        first = replace(first, text=other.text, score=other.score, speaker=other.speaker)
    return replace(first, labels=other.labels, scores=other.scores) if other.labels and not first.labels else first


def _share_a_moment(one: Record, other: Record) -> bool:
    """Return whether the times of two records overlap, or begin at the same instant, as those of one image do."""
    return max(one.start, other.start) < min(one.stop, other.stop) or one.start == other.start
