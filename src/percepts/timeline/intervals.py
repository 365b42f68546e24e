"""Join the labels of neighbouring windows to intervals: from when to when each label holds, with its mean score."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..types import Record, Segment

TOUCHING = 1e-6
"""Seconds between two windows that still count as neighbours: the gap is rounding, not silence."""


def join_windows(records: Iterable[Record], threshold: float | None = None) -> list[Segment]:
    """Join neighbouring windows of one label to segments, sorted by start and then by score.

    records    records of one source with labels and scores, in order; windows may overlap
    threshold  a label holds where its score is at least this; None: where it is the best of its window

    The score of a segment is the mean of its windows', each weighted by its duration; `kind` is "label".

    >>> from percepts.types import Record
    >>> rows = [Record("a", t, t + 1.0, "m", "audio", labels=(name,), scores=(0.5,)) for t, name in enumerate("xxy")]
    >>> [(interval.start, interval.stop, interval.text) for interval in join_windows(rows)]
    [(0, 2.0, 'x'), (2, 3.0, 'y')]
    """
    open_: dict[str, list[tuple[Record, float]]] = {}
    intervals: list[Segment] = []
    for record in records:
        labels = dict(_select_labels(record, threshold))
        for label in [label for label, run in open_.items() if not _continues_run(run, record, label in labels)]:
            intervals.append(_join_run(label, open_.pop(label)))
        for label, score in labels.items():
            open_.setdefault(label, []).append((record, score))
    # What still holds at the end of the source.
    intervals += [_join_run(label, run) for label, run in open_.items()]
    return sorted(intervals, key=lambda segment: (segment.start, -(segment.score or 0.0), segment.text))


def _select_labels(record: Record, threshold: float | None) -> Iterator[tuple[str, float]]:
    """Yield the labels of a window that hold, with their scores."""
    pairs = list(zip(record.labels, record.scores, strict=True))
    yield from pairs[:1] if threshold is None else (pair for pair in pairs if pair[1] >= threshold)


def _continues_run(run: list[tuple[Record, float]], record: Record, holds: bool) -> bool:
    """Return whether the record continues a run: the label holds in it, and there is no gap before it."""
    return holds and record.start <= run[-1][0].stop + TOUCHING


def _join_run(label: str, run: list[tuple[Record, float]]) -> Segment:
    """Build the segment of a run."""
    # An image lasts 0 seconds and must count all the same.
    seconds = [record.stop - record.start or 1.0 for record, _ in run]
    score = sum(s * w for (_, s), w in zip(run, seconds, strict=True)) / sum(seconds)
    return Segment(run[0][0].start, run[-1][0].stop, label, score=score, kind="label")
