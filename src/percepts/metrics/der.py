"""Compute the diarization error rate exactly: how far two accounts of who spoke when differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..support.hungarian import max_weight_matching
from ..timeline.speakers import merge_turns
from ..types import Segment


@dataclass(frozen=True, slots=True)
class DiarizationErrors:
    """Seconds of speech that are wrong, of `total` seconds; two people at once count twice.

    missed       spoken in the reference, by more people than in the hypothesis
    false_alarm  spoken in the hypothesis, by more people than in the reference
    confusion    spoken in both, by different people
    mapping      names in the hypothesis → names in the reference, one to one, chosen to agree for the longest time
    """

    total: float
    missed: float
    false_alarm: float
    confusion: float
    mapping: dict[str, str] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """The diarization error rate (DER): all errors by the total; infinite where only the hypothesis speaks."""
        wrong = self.missed + self.false_alarm + self.confusion
        if not self.total:
            return float("inf") if wrong else 0.0
        return wrong / self.total

    def __add__(self, other: DiarizationErrors) -> DiarizationErrors:
        """Add up the seconds of several files; the mapping of names is dropped."""
        return DiarizationErrors(
            self.total + other.total,
            self.missed + other.missed,
            self.false_alarm + other.false_alarm,
            self.confusion + other.confusion,
        )


Span = tuple[float, float]


def diarization_errors(
    reference: Iterable[Segment],
    hypothesis: Iterable[Segment],
    *,
    collar: float = 0.0,
    skip_overlap: bool = False,
    regions: Sequence[Span] | None = None,
) -> DiarizationErrors:
    """Compare the turns of one file with the reference, exactly: no frames, no rounding.

    Args:
        reference: the true turns.
        hypothesis: the turns that were found; what the speakers are called does not matter.
        collar: seconds on each side of every start and stop in the reference that are not scored (NIST's definition;
            pyannote.metrics calls the sum of both sides the collar).
        skip_overlap: do not score where several people speak in the reference.
        regions: score only these (start, stop); default: everything.

    >>> ann, ben = (lambda a, b: Segment(a, b, "", speaker="Ann")), (lambda a, b: Segment(a, b, "", speaker="Ben"))
    >>> errors = diarization_errors([ann(0, 4), ben(4, 8)], [ben(0, 5), ann(5, 8)])
    >>> errors.confusion, errors.rate, errors.mapping
    (1.0, 0.125, {'Ann': 'Ben', 'Ben': 'Ann'})
    """
    if collar < 0:
        raise ValueError(f"expected a collar of 0 s or more, got {collar}")
    truth, hypotheses = merge_turns(_drop_unnamed(reference)), merge_turns(_drop_unnamed(hypothesis))
    unscored = [(edge - collar, edge + collar) for turn in truth for edge in (turn.start, turn.stop)] if collar else []
    spans = [
        span
        for span in _split_at_edges(truth, hypotheses, unscored, regions)
        if not (skip_overlap and len(span.reference) > 1)
    ]
    return _count_errors(spans)


@dataclass(frozen=True, slots=True)
class _ScoredSpan:
    """A span of time in which nothing changes on either side, with the speakers of each."""

    seconds: float
    reference: frozenset[str]
    hypothesis: frozenset[str]


def _drop_unnamed(turns: Iterable[Segment]) -> Iterator[Segment]:
    """Yield the turns that have a speaker and a length."""
    return (turn for turn in turns if turn.speaker is not None and turn.stop > turn.start)


def _split_at_edges(
    truth: Sequence[Segment], found: Sequence[Segment], unscored: Sequence[Span], regions: Sequence[Span] | None
) -> Iterator[_ScoredSpan]:
    """Yield spans between all edges in one sweep, without those in a collar or outside the regions."""
    edges: list[tuple[float, int, str, int]] = []
    for layer, turns in enumerate((truth, found)):
        for turn in turns:
            # `or` is for the type checker: turns without a speaker were dropped
            edges += [(turn.start, layer, turn.speaker or "", 1), (turn.stop, layer, turn.speaker or "", -1)]
    # Collars and regions are swept together with the turns, as two more layers.
    for layer, spans in ((2, unscored), (3, regions or ())):
        edges += [(time, layer, "", step) for span in spans for time, step in zip(span, (1, -1), strict=True)]
    open_now: tuple[dict[str, int], ...] = ({}, {}, {}, {})
    since = 0.0
    for time, layer, name, step in sorted(edges):
        scored = not open_now[2] and (regions is None or open_now[3])
        if scored and time > since and (open_now[0] or open_now[1]):
            yield _ScoredSpan(time - since, frozenset(open_now[0]), frozenset(open_now[1]))
        since = time
        count = open_now[layer].get(name, 0) + step
        if count:
            open_now[layer][name] = count
        else:
            del open_now[layer][name]  # not kept at 0: the keys are who speaks now


def _count_errors(spans: Sequence[_ScoredSpan]) -> DiarizationErrors:
    """Add up the errors of the spans."""
    total = missed = false_alarm = both = 0.0
    for span in spans:
        true_count, found_count = len(span.reference), len(span.hypothesis)
        total += span.seconds * true_count
        missed += span.seconds * max(true_count - found_count, 0)
        false_alarm += span.seconds * max(found_count - true_count, 0)
        both += span.seconds * min(true_count, found_count)
    mapping, right = _map_speakers(spans)
    # Rounding may make the difference of equal sums negative.
    return DiarizationErrors(total, missed, false_alarm, max(both - right, 0.0), mapping)


def _map_speakers(spans: Sequence[_ScoredSpan]) -> tuple[dict[str, str], float]:
    """Return the mapping of names that agrees for the longest time, and the seconds in which it agrees."""
    true_names = sorted(set().union(*(span.reference for span in spans)))
    names = sorted(set().union(*(span.hypothesis for span in spans)))
    row, column = {name: i for i, name in enumerate(names)}, {name: i for i, name in enumerate(true_names)}
    # Which names belong together is decided over the file: the pairs with the most seconds in common.
    together = np.zeros((len(names), len(true_names)))
    for span in spans:
        for name in span.hypothesis:
            for true_name in span.reference:
                together[row[name], column[true_name]] += span.seconds
    pairs = [(i, j) for i, j in max_weight_matching(together) if together[i, j] > 0]
    return {names[i]: true_names[j] for i, j in pairs}, float(sum(together[i, j] for i, j in pairs))
