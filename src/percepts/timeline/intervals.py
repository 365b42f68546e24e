"""Labels of windows in, intervals out: when each label holds, from when to when, how surely."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..types import Record, Segment

TOUCHING = 1e-6
"""Seconds by which two windows may miss each other and still be neighbours: rounding, not silence."""


def join_windows(records: Iterable[Record], threshold: float | None = None) -> list[Segment]:
    """Neighbouring windows of one label, joined, in order of their start and then their score.

    records    of one source, with labels and scores, in order; windows may overlap
    threshold  a label holds where its score is at least this; None: where it is the best of its window

    The score of an interval is the mean of its windows', each weighted by its duration; `kind` is "label".

    >>> from percepts.types import Record
    >>> rows = [Record("a", t, t + 1.0, "m", "audio", labels=(name,), scores=(0.5,)) for t, name in enumerate("xxy")]
    >>> [(found.start, found.stop, found.text) for found in intervals(rows)]
    [(0, 2.0, 'x'), (2, 3.0, 'y')]
    """
    open_: dict[str, list[tuple[Record, float]]] = {}
    found: list[Segment] = []
    for record in records:
        held = dict(_holds_label(record, threshold))
        for label in [label for label, run in open_.items() if not _continues_run(run, record, label in held)]:
            found.append(_join_run(label, open_.pop(label)))
        for label, score in held.items():
            open_.setdefault(label, []).append((record, score))
    found += [_join_run(label, run) for label, run in open_.items()]
    return sorted(found, key=lambda segment: (segment.start, -(segment.score or 0.0), segment.text))


def _holds_label(record: Record, threshold: float | None) -> Iterator[tuple[str, float]]:
    pairs = list(zip(record.labels, record.scores, strict=True))
    yield from pairs[:1] if threshold is None else (pair for pair in pairs if pair[1] >= threshold)


def _continues_run(run: list[tuple[Record, float]], record: Record, held: bool) -> bool:
    """Whether a run goes on, or may still: the label holds here and now, and nothing lies between."""
    return held and record.start <= run[-1][0].stop + TOUCHING


def _join_run(label: str, run: list[tuple[Record, float]]) -> Segment:
    seconds = [record.stop - record.start or 1.0 for record, _ in run]
    score = sum(s * w for (_, s), w in zip(run, seconds, strict=True)) / sum(seconds)
    return Segment(run[0][0].start, run[-1][0].stop, label, score=score, kind="label")
