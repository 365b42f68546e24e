"""Label sources: cut media as `embed` cuts it, compute a probability for every label, keep the best ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from ..encoders.graph import find_graph_digest
from ..encoders.hub.int8_check import CANARY_KINDS
from ..errors import LabelsError, TruncatedMedia, WrongMedium
from ..media import Probe, Source, probe
from ..media.source import name_of, source_path
from ..runtimes import defer_choice
from ..support.deprecated import OldArgument, OldAttribute
from ..support.short_repr import ShortRepr
from ..timeline.intervals import join_windows
from ..types import Encoder, Inputs, Kind, Record, Segment, Spec
from .base import BatchedTask, PreparedBatch, RecordFields
from .embed import EmbedTask
from .settings import inline, setting

_STORED = {None: None, False: "single", True: "multi"}


def read_label_mode(mode: object) -> bool | None:
    """Return `multi_label` for the `task` of older releases: "single", "multi" or None. ValueError for others."""
    for multi_label, name in _STORED.items():
        if mode == name:
            return multi_label
    raise ValueError(f"expected task to be single or multi, got {mode!r}")


_MULTI_LABEL = setting(
    "judged", lambda multi_label: _STORED[multi_label], lambda stored, specs: read_label_mode(stored)
)
"""Job directories keep it as "single" or "multi", under the name that the field had in older releases."""
OLD_TASK = OldArgument("multi_label", read_label_mode, "multi_label=True or False")
"""The argument `task` of older releases."""


@dataclass(frozen=True)
class LabelTask(BatchedTask):
    """A task that gives each window, frame or image its likeliest labels.

    embed_task   how media is cut, and by which encoder's rate, window and size
    multi_label  True: each label by itself, several may be right; False: exactly one is right, and scores add up to
                 one; None: as the model was trained
    top_k        how many labels are kept of each window, best first; None: all
    """

    embed_task: EmbedTask = field(metadata=inline(EmbedTask))
    multi_label: bool | None = field(default=None, metadata=_MULTI_LABEL)
    top_k: int | None = 5
    _models_run: set[str] = field(default_factory=set, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Compared by value: "single", of older releases, is true to `if`.
        if self.multi_label not in (None, True, False):
            raise ValueError(f"expected multi_label to be True, False or None, got {self.multi_label!r}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"expected top_k of at least 1, got {self.top_k}")

    @property
    @abstractmethod
    def labels(self) -> Sequence[str]:
        """The labels that it chooses from."""

    @abstractmethod
    def compute_probabilities(self, inputs: Inputs) -> np.ndarray:
        """Return (B, labels) float32 probabilities of prepared inputs."""

    @property
    def encoder(self) -> Encoder:
        """The one encoder, made once in this process."""
        return self.embed_task.get_encoder(self.embed_task.specs[0])

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One table, without vectors."""
        return (replace(self.embed_task.specs[0], dim=0),)

    @classmethod
    def update_specs(cls, specs: Sequence[Spec]) -> Sequence[Spec]:
        """Return stored specs as this release knows them."""
        return EmbedTask.update_specs(specs)

    def prepare_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch]:
        """Prepare all of a source; damage at its end goes into `notes`."""
        return self.embed_task.prepare_source(source, medium, notes)

    def explain_empty(self, medium: Probe) -> str:
        """Return why a readable source gave no window."""
        return self.embed_task.explain_empty(medium)

    def run_batch(self, model: str, inputs: Inputs) -> Sequence[RecordFields]:
        """Return the best labels of each row of a batch."""
        return [self.keep_best(row) for row in self._score_inputs(inputs)]

    def keep_best(self, row: np.ndarray) -> RecordFields:
        """Return the labels kept of (labels,) probabilities, best first; equal ones in the order of the model."""
        # A stable sort of the negated values: of two equal labels the model's first one wins on every machine.
        order = np.argsort(-row, kind="stable")[: self.top_k]
        return {"labels": tuple(self.labels[i] for i in order), "scores": tuple(float(row[i]) for i in order)}

    def rehearsals(self) -> Mapping[str, Callable[[], Sequence[RecordFields]]]:
        """Return what labels a made-up clip."""
        spec = self.embed_task.specs[0]
        return {spec.name: self._rehearse} if spec.kind in CANARY_KINDS else {}

    def _rehearse(self) -> Sequence[RecordFields]:
        inputs = self.embed_task.prepare_canary(self.embed_task.specs[0])
        with defer_choice():
            # Not _score_inputs, which would count the rehearsal as a run of the model.
            return [self.keep_best(row) for row in self.compute_probabilities(inputs)]

    def graphs_used(self) -> dict[str, str]:
        """Return the digest of the graph that the model ran as, if it has run so far; "" where it needs none."""
        return {name: find_graph_digest(self.encoder) for name in self._models_run}

    def runtimes_used(self) -> dict[str, str]:
        """Return the runtime of the model, if it has run so far."""
        return {name: runtime for name in self._models_run if (runtime := getattr(self.encoder, "runtime", ""))}

    def with_runtimes(self, runtimes: Mapping[str, str]) -> Self:
        """Return the same task with its encoder on this runtime."""
        return replace(self, embed_task=self.embed_task.with_runtimes(runtimes))

    def run_one(self, source: Source) -> LabelResult:
        """Return the labels of one source, with no job around it: memory is one batch and the records.

        Raises:
            WrongMedium: the model does not take what the source is.
            MediaError: the source cannot be used.
            TruncatedMedia: the source is damaged and no part of it can be used.
        """
        medium, notes = probe(source), list[str]()
        total, weight, records = np.zeros(len(self.labels)), 0.0, list[Record]()
        for batch in self.prepare_source(source, medium, notes):
            for (start, stop), row in zip(batch.spans, self._score_inputs(batch.inputs), strict=True):
                records.append(Record(source_path(source), start, stop, batch.model, batch.kind, **self.keep_best(row)))
                seconds = stop - start or 1.0  # images have no duration and count alike
                # float64, since float32 loses digits over the windows of hours.
                total, weight = total + seconds * row.astype(np.float64), weight + seconds
        if not records:
            raise TruncatedMedia(notes[0]) if notes else WrongMedium(f"{name_of(source)} {self.explain_empty(medium)}")
        first, last = records[0], records[-1]
        # Over all labels, before the best are kept: a label may be second everywhere and first overall.
        mean = (total / weight).astype(np.float32)
        # Windows come in the order of time, so the last one ends last.
        overall = Record(first.source, first.start, last.stop, first.model, first.kind, **self.keep_best(mean))
        return LabelResult(overall, tuple(records), tuple(notes))

    def _score_inputs(self, inputs: Inputs) -> np.ndarray:
        probabilities = self.compute_probabilities(inputs)
        self._models_run.add(self.embed_task.specs[0].name)
        return probabilities

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without what is true of this process alone."""
        return {**self.__dict__, "_models_run": set()}


@dataclass(frozen=True, slots=True, repr=False)
class LabelResult(ShortRepr):
    """The labels of one source: of all of it, and of every window or frame.

    overall  one record; its scores are the mean over the windows, each weighted by its duration, before the best are
             kept
    records  one for each window or frame, in order; an image has one
    notes    what is wrong with the rest of a source that is damaged later on
    """

    overall: Record
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()

    whole = OldAttribute("overall")

    @property
    def kind(self) -> Kind:
        """What the source is: an image has no intervals."""
        return self.overall.kind

    def intervals(self, threshold: float | None = None) -> list[Segment]:
        """Return when each label holds, neighbours of one label joined: `percepts.timeline.intervals`."""
        return join_windows(self.records, threshold)


def check_labels(labels: Sequence[str], what: str = "label") -> tuple[str, ...]:
    """Return the labels without the space around them.

    Raises:
        LabelsError: there is none, one is blank, one comes twice, or the labels are one text.
    """
    if isinstance(labels, str):
        raise LabelsError(f"expected a list of {what}s, got one text: {labels!r}")
    stripped = tuple(label.strip() for label in labels)
    if not stripped or not all(stripped):
        raise LabelsError(f"expected at least one {what}, and none of them blank; got {list(labels)}")
    repeated = sorted({label for label in stripped if stripped.count(label) > 1})
    if repeated:
        raise LabelsError(f"expected every {what} once, got {', '.join(repeated)} more than once")
    return stripped
