"""What a job needs of a task, in two kinds: one that shares batches between sources, one that takes a source whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..errors import TruncatedMedia
from ..media import Probe, Source, probe
from ..types import Inputs, Kind, Record, Spec

RecordFields = Mapping[str, Any]
"""What a model says of a clip, by the names of Record: {"vector": v}, {"text": t, "score": s}, {"labels": …}."""


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """Prepared inputs of a few clips of one source, on their way to the model; spans are (start, stop) seconds."""

    model: str
    kind: Kind
    spans: tuple[tuple[float, float], ...]
    inputs: Inputs

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(array.nbytes for array in self.inputs.values())


class Task(Protocol):
    """Both kinds of task. It is pickled to reach the workers: what it loads it loads there, at the first use.

    name   of the command
    specs  one for each table it fills; `dim` 0 where that holds no vectors

    Damage at the end of a source goes into `notes` and is not raised, so that what came before it is kept.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def specs(self) -> tuple[Spec, ...]: ...  # noqa: D102

    def settings(self) -> dict[str, Any]:
        """Everything that changes a result, as JSON: the fingerprint of a job."""

    def explain_empty(self, medium: Probe) -> str:
        """Why a medium that is whole gave nothing; "" where nothing is the result, as of a silence transcribed."""


@runtime_checkable
class BatchedTask(Task, Protocol):
    """A task whose clips share batches, whatever their source: vectors, labels, captions."""

    def prepare_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch]:
        """All of a source, decoded, cut and prepared; runs in a decode worker."""

    def run_batch(self, model: str, inputs: Inputs) -> Sequence[RecordFields]:
        """One for each row of the batch, independent of its company; runs where the model is."""


@runtime_checkable
class PerSourceTask(Task, Protocol):
    """A task that looks at a source from its beginning to its end: transcripts, who spoke when."""

    def records(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[Record]:
        """All of a source; runs in a worker, which loads the model. `Record.source` is filled in by the job."""


@runtime_checkable
class Placed(Protocol):
    """A task that can say which runtime ran its models, so that a job goes on with the one it began with."""

    def runtimes_used(self) -> dict[str, str]:
        """Runtime by model, of those that have run."""

    def with_runtimes(self, runtimes: Mapping[str, str]) -> Any:
        """The same task with its models on these runtimes."""


@runtime_checkable
class Repairable(Protocol):
    """A task that can be made again from the settings of a job directory, as `verify --repair` does."""

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], specs: Sequence[Spec]) -> Any:
        """Make the task whose `settings()` these are.

        `specs` are those that the directory holds, by whatever release: where a class lives is not to be believed.
        JobError for what no directory keeps, such as an engine that came from Python.
        """


@runtime_checkable
class Graphed(Protocol):
    """A task that can say which graphs of the cache its models ran as."""

    def used_graphs(self) -> dict[str, str]:
        """The sha256 of the graph by model, of those that have run; "" for a model that needs none."""


@runtime_checkable
class Checked(Protocol):
    """A task that can tell, before any source is looked at, that it cannot do what is asked of it."""

    def check(self) -> None:
        """Raise the error that every source would meet."""


@runtime_checkable
class Rehearsed(Protocol):
    """A task whose models can be tried before any source is looked at."""

    def rehearsals(self) -> Mapping[str, Callable[[], Iterable[RecordFields]]]:
        """Return, by model, what loads it and runs it on one made-up item; the results are for nobody.

        It must leave later results as they are, to the last bit: `percepts.runtimes.defer_choice`.
        """


class Reducer(Protocol):
    """Takes the records of one source by one model, and gives one."""

    def add(self, record: Record, /) -> None: ...  # noqa: D102

    def record(self) -> Record: ...  # noqa: D102


@runtime_checkable
class Gathering(Protocol):
    """A batched task that may want one record a source and model instead of one a clip."""

    def gatherer(self) -> Reducer | None:
        """A new one; None where every clip is a record of its own."""


def gathering(task: object) -> Callable[[], Reducer | None]:
    """What makes the gatherers of a task, none where it wants none; ask once, since asking a protocol is dear."""
    return task.gatherer if isinstance(task, Gathering) else lambda: None


def records(task: BatchedTask | PerSourceTask, source: Source) -> Iterator[Record]:
    """What a task says of one source, lazily, with no job around it: memory is one piece, not one film.

    Raises MediaError where the source cannot be used; TruncatedMedia after the good part of one that is damaged
    later on.
    """
    medium = probe(source)
    name = str(source) if isinstance(source, str | Path) else ""
    notes: list[str] = []
    if isinstance(task, PerSourceTask):
        yield from (replace(record, source=name) for record in task.records(source, medium, notes))
    else:
        yield from _reduce_records(task, _run_batches(task, task.prepare_source(source, medium, notes), name))
    if notes:
        raise TruncatedMedia(notes[0])


def _run_batches(task: BatchedTask, pieces: Iterable[PreparedBatch], name: str) -> Iterator[Record]:
    for piece in pieces:
        for (start, stop), fields in zip(piece.spans, task.run_batch(piece.model, piece.inputs), strict=True):
            yield Record(name, start, stop, piece.model, piece.kind, **fields)


def _reduce_records(task: BatchedTask, records: Iterable[Record]) -> Iterator[Record]:
    gathered: dict[str, Reducer] = {}
    make = gathering(task)
    for record in records:
        if record.model not in gathered and (gatherer := make()):
            gathered[record.model] = gatherer
        if record.model in gathered:
            gathered[record.model].add(record)
        else:
            yield record
    yield from (gatherer.record() for gatherer in gathered.values())


@contextmanager
def mark_stage(name: str) -> Iterator[None]:
    """Mark what is raised inside with the stage it happened in; the innermost mark stays."""
    try:
        yield
    except Exception as error:
        if not hasattr(error, "stage"):
            error.stage = name  # type: ignore[attr-defined]
        raise
