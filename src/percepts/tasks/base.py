"""Define what a task is: how sources become records, and what a job may ask of a task before and after it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, Self

from ..errors import TruncatedMedia, WrongMedium
from ..media import Probe, Source, probe
from ..media.source import name_of, source_path
from ..types import Inputs, Kind, Record, Spec
from .settings import read_arguments, to_settings

RecordFields = Mapping[str, Any]
"""The result of a model for one clip, by the field names of Record: {"vector": v}, {"text": t, "score": s}, …"""


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """The prepared inputs of a few clips of one source; `spans` holds the (start, stop) seconds of each clip."""

    model: str
    kind: Kind
    spans: tuple[tuple[float, float], ...]
    inputs: Inputs

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(array.nbytes for array in self.inputs.values())


class Reducer(Protocol):
    """Takes the records of one source by one model, and gives one record for all of them."""

    def add(self, record: Record, /) -> None: ...  # noqa: D102

    def record(self) -> Record: ...  # noqa: D102


class Task(ABC):
    """One thing to do with sources, such as embedding or transcribing them; a frozen dataclass of its settings.

    Derive from BatchedTask or from PerSourceTask, give a `name` (that of the command), `specs` (one for each table
    that the task fills; `dim` is 0 where the table holds no vectors) and `explain_empty`. The other methods have
    defaults that suit a task with nothing to say. Every field is a setting of the task unless its metadata or a
    leading underscore says otherwise: see `percepts.tasks.settings`.

    A task is pickled to reach the workers, so it loads its models at their first use and leaves them out of its state.
    Damage at the end of a source is appended to `notes` and not raised, so that the records before it are kept.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def specs(self) -> tuple[Spec, ...]:
        """One for each table that the task fills."""

    @abstractmethod
    def explain_empty(self, medium: Probe) -> str:
        """Return why an intact medium gave no record; "" where none is a result, as of a recording without speech."""

    @abstractmethod
    def iterate_records(self, source: Source) -> Iterator[Record]:
        """Yield the records of one source lazily, with no job around it: memory is one batch, not one video.

        Raises:
            MediaError: the source cannot be used.
            TruncatedMedia: the source is damaged later on; raised after the records of its good part.
        """

    def run_one(self, source: Source) -> Any:
        """Return the result for one source, as the Python function of the task returns it: here, a list of records.

        Raises:
            WrongMedium: there is no record, and none is no result of this task.
            MediaError: as `iterate_records`.
        """
        records = list(self.iterate_records(source))
        if not records and (reason := self.explain_empty(probe(source))):
            raise WrongMedium(f"{name_of(source)} {reason}")
        return records

    def settings(self) -> dict[str, Any]:
        """Return everything that changes a result, as JSON: the fingerprint of a job."""
        return {"task": self.name, **to_settings(self)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], specs: Sequence[Spec]) -> Self:
        """Return the task whose `settings()` these are.

        Args:
            settings: as a job directory holds them.
            specs: those of its tables, by whatever release: where a class lives is brought up to date by
                `update_specs`.

        Raises:
            JobError: for what no directory keeps, such as an engine that came from Python.
        """
        return cls(**read_arguments(cls, settings, cls.update_specs(specs)))

    @classmethod
    def update_specs(cls, specs: Sequence[Spec]) -> Sequence[Spec]:
        """Return stored specs as this release knows them."""
        return specs

    def validate(self) -> None:  # noqa: B027  # most tasks have nothing to refuse
        """Raise the error that every source would meet, before any source is read."""

    def rehearsals(self) -> Mapping[str, Callable[[], Iterable[RecordFields]]]:
        """Return, by model, a function that loads it and runs it on one made-up item; the results are thrown away.

        The rehearsal must leave later results as they are, to the last bit: see `percepts.runtimes.defer_choice`.
        """
        return {}

    def runtimes_used(self) -> dict[str, str]:
        """Return the runtime by model, of the models that have run, so that a job continues with the same ones."""
        return {}

    def with_runtimes(self, runtimes: Mapping[str, str]) -> Self:
        """Return the same task with its models on these runtimes, where the user has not chosen one."""
        return self

    def graphs_used(self) -> dict[str, str]:
        """Return the sha256 of the cached graph by model, of the models that have run; "" for one without a graph."""
        return {}

    def reducer(self) -> Reducer | None:
        """Return a new reducer for the records of one source and model; None where every record is kept."""
        return None


class BatchedTask(Task):
    """A task whose clips share batches, whatever their source: vectors, labels, captions."""

    @abstractmethod
    def prepare_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch]:
        """Decode, cut and prepare all of a source; runs in a decode worker."""

    @abstractmethod
    def run_batch(self, model: str, inputs: Inputs) -> Sequence[RecordFields]:
        """Return one result for each row of the batch, independent of the other rows; runs where the model is."""

    def iterate_records(self, source: Source) -> Iterator[Record]:
        """Yield the records of one source lazily; see `Task.iterate_records`."""
        notes: list[str] = []
        yield from self._reduce_records(
            record
            for batch in self.prepare_source(source, probe(source), notes)
            for record in self.records_of_batch(batch, source_path(source))
        )
        if notes:
            raise TruncatedMedia(notes[0])

    def records_of_batch(self, batch: PreparedBatch, source: str) -> Iterator[Record]:
        """Run the model on one batch and yield a record for each of its clips."""
        for (start, stop), fields in zip(batch.spans, self.run_batch(batch.model, batch.inputs), strict=True):
            yield Record(source, start, stop, batch.model, batch.kind, **fields)

    def _reduce_records(self, records: Iterable[Record]) -> Iterator[Record]:
        reducers: dict[str, Reducer] = {}
        for record in records:
            # One for each model: vectors of two models have no common mean.
            if record.model not in reducers and (reducer := self.reducer()):
                reducers[record.model] = reducer
            if record.model in reducers:
                reducers[record.model].add(record)
            else:
                yield record
        # Last, since a mean is known after the last window.
        yield from (reducer.record() for reducer in reducers.values())


class PerSourceTask(Task):
    """A task that reads a source from its beginning to its end, such as a transcript or who spoke when."""

    @abstractmethod
    def process_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[Record]:
        """Yield the records of a source; runs in a worker, which loads the model. The job fills in `Record.source`."""

    def iterate_records(self, source: Source) -> Iterator[Record]:
        """Yield the records of one source lazily; see `Task.iterate_records`."""
        notes: list[str] = []
        for record in self.process_source(source, probe(source), notes):
            # The task may have put in a name of its own; batched tasks write this one.
            yield replace(record, source=source_path(source))
        if notes:
            raise TruncatedMedia(notes[0])


@contextmanager
def mark_stage(name: str) -> Iterator[None]:
    """Mark what is raised inside with the stage it happened in; the innermost mark stays."""
    try:
        yield
    except Exception as error:
        if not hasattr(error, "stage"):
            error.stage = name  # type: ignore[attr-defined]  # read where the ledger entry is written
        raise
