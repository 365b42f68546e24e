"""What labelling tasks share: media cut as `embed` cuts it, a probability for every label, the best of them kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from ..encoders import update_spec
from ..encoders.graph import find_graph_digest
from ..encoders.hub.int8_check import CANARY_KINDS
from ..errors import LabelsError, TruncatedMedia, WrongMedium
from ..media import Probe, Source, probe
from ..runtimes import defer_choice
from ..timeline.intervals import join_windows
from ..types import Encoder, Inputs, Kind, Record, Segment, Spec
from .base import PreparedBatch, RecordFields
from .embed import EmbedTask
from .settings import inline, read_arguments, to_settings

LabelMode = Literal["single", "multi"]
"""One label is right (probabilities add up to one), or each is judged by itself."""


@dataclass(frozen=True)
class LabelTask(ABC):
    """A task that gives each window, frame or picture its likeliest labels.

    cut      how media is cut, and by which encoder's rate, window and size
    judged   "single" or "multi"; None: as the model was trained
    top_k    how many labels are kept of each window, best first; None: all
    """

    embed_task: EmbedTask = field(metadata=inline(EmbedTask))
    judged: LabelMode | None = None
    top_k: int | None = 5
    _ran: set[str] = field(default_factory=set, compare=False, repr=False)

    name = ""

    def __post_init__(self) -> None:
        if self.judged not in (None, "single", "multi"):
            raise ValueError(f"expected task to be single or multi, got {self.judged!r}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"expected top_k of at least 1, got {self.top_k}")

    @property
    @abstractmethod
    def labels(self) -> Sequence[str]:
        """What it can say."""

    @abstractmethod
    def probabilities(self, inputs: Inputs) -> np.ndarray:
        """(B, labels) float32 of prepared inputs."""

    @property
    def encoder(self) -> Encoder:
        """The one encoder, made once in this process."""
        return self.embed_task.encoder(self.embed_task.specs[0])

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One table, without vectors."""
        return (replace(self.embed_task.specs[0], dim=0),)

    def settings(self) -> dict[str, Any]:
        """Everything that changes a label, as JSON: the fingerprint of a job."""
        return {"task": self.name, **to_settings(self)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], specs: Sequence[Spec]) -> Self:
        """Make the task that `settings()` speaks of, from the Specs that its directory holds; see `Repairable`."""
        return cls(**read_arguments(cls, settings, [update_spec(spec) for spec in specs]))

    def prepare_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch]:
        """All of a source, prepared; damage at its end goes into `notes`."""
        return self.embed_task.prepare_source(source, medium, notes)

    def explain_empty(self, medium: Probe) -> str:
        """Why a sound medium gave no window at all."""
        return self.embed_task.explain_empty(medium)

    def run_batch(self, model: str, inputs: Inputs) -> Sequence[RecordFields]:
        """The best labels of each row of a batch."""
        return [self.keep_best(row) for row in self._score_inputs(inputs)]

    def rehearsals(self) -> Mapping[str, Callable[[], Sequence[RecordFields]]]:
        """Return what labels a made-up clip."""
        spec = self.embed_task.specs[0]
        return {spec.name: self._rehearse} if spec.kind in CANARY_KINDS else {}

    def _rehearse(self) -> Sequence[RecordFields]:
        inputs = self.embed_task.canary(self.embed_task.specs[0])
        with defer_choice():
            return [self.keep_best(row) for row in self.probabilities(inputs)]

    def keep_best(self, row: np.ndarray) -> RecordFields:
        """(labels,) probabilities to the labels kept, best first; equal ones in the order of the model."""
        order = np.argsort(-row, kind="stable")[: self.top_k]
        return {"labels": tuple(self.labels[i] for i in order), "scores": tuple(float(row[i]) for i in order)}

    def runtimes_used(self) -> dict[str, str]:
        """Which runtime the model runs on, if it has run so far."""
        return {name: runtime for name in self._ran if (runtime := getattr(self.encoder, "runtime", ""))}

    def used_graphs(self) -> dict[str, str]:
        """Which graph the model runs as, if it has run so far; "" where it needs none."""
        return {name: find_graph_digest(self.encoder) for name in self._ran}

    def with_runtimes(self, runtimes: Mapping[str, str]) -> Self:
        """The same with its encoder on this runtime."""
        return replace(self, embed_task=self.embed_task.with_runtimes(runtimes))

    def run_one(self, source: Source) -> LabelResult:
        """The labels of one source, with no job around it: memory is one piece and the records, not the film.

        Raises WrongMedium where the model does not take what the source is; MediaError where it cannot be used;
        TruncatedMedia where it is damaged and nothing of it can be.
        """
        medium, notes = probe(source), list[str]()
        called = str(source) if isinstance(source, str | Path) else ""
        total, weight, records = np.zeros(len(self.labels)), 0.0, list[Record]()
        for piece in self.prepare_source(source, medium, notes):
            for (start, stop), row in zip(piece.spans, self._score_inputs(piece.inputs), strict=True):
                records.append(Record(called, start, stop, piece.model, piece.kind, **self.keep_best(row)))
                seconds = stop - start or 1.0
                total, weight = total + seconds * row.astype(np.float64), weight + seconds
        if not records:
            raise TruncatedMedia(notes[0]) if notes else WrongMedium(f"{called or 'it'} {self.explain_empty(medium)}")
        first, last = records[0], records[-1]
        mean = (total / weight).astype(np.float32)
        whole = Record(called, first.start, last.stop, first.model, first.kind, **self.keep_best(mean))
        return LabelResult(whole, tuple(records), tuple(notes))

    def _score_inputs(self, inputs: Inputs) -> np.ndarray:
        found = self.probabilities(inputs)
        self._ran.add(self.embed_task.specs[0].name)
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Travels to workers without what it has loaded."""
        return {**self.__dict__, "_ran": set()}


@dataclass(frozen=True, slots=True)
class LabelResult:
    """The labels of one source: of the whole of it, and of every window or frame.

    whole    one record; its scores are the mean over the windows, each weighted by its duration, before the best are
             kept
    records  one of each window or frame, in order; a picture has one
    notes    what is wrong with the rest of a source that is damaged later on
    """

    overall: Record
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """What the source is: a picture has no intervals."""
        return self.overall.kind

    def intervals(self, threshold: float | None = None) -> list[Segment]:
        """When each label holds, neighbours of one label joined: `percepts.timeline.intervals`."""
        return join_windows(self.records, threshold)


def check_labels(labels: Sequence[str], what: str = "label") -> tuple[str, ...]:
    """The labels without the space around them. LabelsError for none, a blank one, one twice, or one text of them."""
    if isinstance(labels, str):
        raise LabelsError(f"expected a list of {what}s, got one text: {labels!r}")
    found = tuple(label.strip() for label in labels)
    if not found or not all(found):
        raise LabelsError(f"expected at least one {what}, and none of them blank; got {list(labels)}")
    twice = sorted({label for label in found if found.count(label) > 1})
    if twice:
        raise LabelsError(f"expected every {what} once, got {', '.join(twice)} more than once")
    return found
