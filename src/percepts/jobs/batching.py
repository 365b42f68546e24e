"""Run prepared inputs of many sources in shared batches, and isolate the clip that makes a batch fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from math import isfinite

import numpy as np

from ..errors import EncodeError, MachineError, MissingExtra, WeightsError
from ..support.machine import describe_machine_fault, is_out_of_memory
from ..tasks.base import PreparedBatch, RecordFields
from ..types import Inputs, Kind

log = logging.getLogger(__name__)

Results = Callable[[str, Inputs], Sequence[RecordFields]]
"""(model, inputs of a batch) → the fields of a Record for each row."""
CallContext = Callable[[str, Sequence[int]], AbstractContextManager[None]]
"""(model, the key of each row) → a context entered around each call of the model, which the watchdog uses."""


@dataclass(frozen=True, slots=True)
class ClipResult:
    """The result of one clip: fields of its record, or the error; `batch` is the number of the batch it was in."""

    key: int
    model: str
    kind: Kind
    start: float
    stop: float
    result: RecordFields | Exception
    batch: int = 0


@dataclass(slots=True)
class _PendingBatch:
    """Prepared inputs of one model and one shape, each with the key of its source, and the number of their clips."""

    pieces: list[tuple[int, PreparedBatch]] = field(default_factory=list)
    clips: int = 0

    def add(self, key: int, piece: PreparedBatch) -> None:
        self.pieces.append((key, piece))
        self.clips += len(piece.spans)


@dataclass(slots=True)
class Batcher:
    """Collects prepared inputs until a batch is full. Inputs of one model and one shape share batches across sources.

    An exception costs only the clip that causes it: the batch is halved until that clip is alone. After the memory ran
    out, batches of that model keep the size that fitted.
    """

    run_batch: Results
    size: int
    watch_batch: CallContext = field(default=lambda model, keys: nullcontext())
    _waiting: dict[tuple[object, ...], _PendingBatch] = field(default_factory=dict)
    _fits: dict[str, int] = field(default_factory=dict)
    _batches: int = 0

    def add(self, key: int, piece: PreparedBatch, *, alone: bool = False) -> Iterator[ClipResult]:
        """Add prepared inputs; yield the results of a batch that they fill, or with `alone` of each of their clips."""
        # In batches of one clip, a hang names the source that causes it.
        if alone:
            yield from self._run([(key, piece)], 1)
            return
        # Arrays can be joined only if all their axes but the first agree.
        shape = (piece.model, *((name, a.shape[1:], a.dtype.str) for name, a in sorted(piece.inputs.items())))
        if (group := self._waiting.get(shape)) is None:
            group = self._waiting[shape] = _PendingBatch()
        group.add(key, piece)
        if group.clips >= self.size:
            yield from self._run(self._waiting.pop(shape).pieces, self.size)

    def flush(self) -> Iterator[ClipResult]:
        """Run all waiting batches, full or not."""
        while self._waiting:
            yield from self._run(self._waiting.pop(next(iter(self._waiting))).pieces, self.size)

    def drop(self, key: int) -> None:
        """Remove the waiting inputs of one source."""
        for shape, group in list(self._waiting.items()):
            del self._waiting[shape]
            rest = _PendingBatch()
            for owner, piece in group.pieces:
                if owner != key:
                    rest.add(owner, piece)
            if rest.pieces:
                self._waiting[shape] = rest

    def _run(self, group: Sequence[tuple[int, PreparedBatch]], size: int) -> Iterator[ClipResult]:
        pieces = [piece for _, piece in group]
        model = pieces[0].model
        self._batches += 1
        inputs = {name: np.concatenate([piece.inputs[name] for piece in pieces]) for name in pieces[0].inputs}
        owners = [(key, piece.kind, span) for key, piece in group for span in piece.spans]
        results: list[RecordFields | Exception] = []
        while len(results) < len(owners):
            # The size that fits may become smaller while this batch runs.
            first, stop = len(results), len(results) + min(size, self._fits.get(model, size))
            results += self._bisect(model, _slice_rows(inputs, first, stop), [key for key, _, _ in owners[first:stop]])
        for (key, kind, span), result in zip(owners, results, strict=True):
            yield ClipResult(key, model, kind, *span, result, self._batches)

    def _bisect(self, model: str, inputs: Inputs, keys: Sequence[int]) -> list[RecordFields | Exception]:
        count = len(keys)
        try:
            with self.watch_batch(model, keys):
                results = self.run_batch(model, inputs)
            if len(results) != count:
                raise EncodeError(f"{model} gave {len(results)} results for {count} inputs")
            return [_check_fields(model, fields) for fields in results]
        except (WeightsError, MissingExtra, MachineError):  # halving cannot help: every clip would fail alike
            raise
        except Exception as error:
            # A full disk or too many open files would fail every later batch, too.
            if why := describe_machine_fault(error):
                raise MachineError(f"{model} cannot go on: {why}") from error
            if count == 1:  # this clip alone makes the model fail
                return [error]
            if is_out_of_memory(error):
                self._fits[model] = min(self._fits.get(model, count), max(1, count // 2))
                log.warning("%s: out of memory at batch size %d, continuing with %d", model, count, self._fits[model])
        # Among n clips one bad one is found with about 2 log2(n) calls, and the good halves keep their results.
        half = count // 2
        first = self._bisect(model, _slice_rows(inputs, 0, half), keys[:half])
        return first + self._bisect(model, _slice_rows(inputs, half, count), keys[half:])


def _slice_rows(inputs: Inputs, start: int, stop: int) -> Inputs:
    return {name: array[start:stop] for name, array in inputs.items()}


def invalid_reason(
    vector: np.ndarray | None = None,
    labels: Sequence[str] = (),
    scores: Sequence[float] = (),
    score: float | None = None,
    **_: object,
) -> str:
    """Say what in a result no table, index or JSON can hold; "" if it is valid."""
    if vector is not None and not np.isfinite(vector).all():
        return f"a vector with {np.count_nonzero(~np.isfinite(vector))} of {len(vector)} numbers not finite"
    if scores and len(scores) != len(labels):
        return f"{len(scores)} scores for {len(labels)} labels"
    return "" if all(map(isfinite, (*scores, score or 0.0))) else "a score that is not finite"


def _check_fields(model: str, fields: RecordFields) -> RecordFields | Exception:
    return EncodeError(f"{model} gave {why}") if (why := invalid_reason(**fields)) else fields
