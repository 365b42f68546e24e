"""Prepared pieces of many sources in, one vector or one error per clip out: batching, and finding the poison in one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import EncodeError
from ..tasks.embed import Piece
from ..types import Inputs, Kind

log = logging.getLogger(__name__)

Encode = Callable[[str, Inputs], np.ndarray]
"""(model, inputs of a batch) → (B, dim)."""


@dataclass(frozen=True, slots=True)
class Clipped:
    """What came of one clip: its vector, or why there is none."""

    key: int
    model: str
    kind: Kind
    start: float
    stop: float
    result: np.ndarray | Exception


@dataclass(slots=True)
class Batcher:
    """Gathers pieces until a batch is full. Pieces of one model and one shape share batches, whatever their source.

    An exception costs only the clip that causes it: the batch is halved until that one stands alone. After running
    out of memory, batches of that model stay at the size that fitted.
    """

    encode: Encode
    size: int
    _waiting: dict[tuple[object, ...], list[tuple[int, Piece]]] = field(default_factory=dict)
    _fits: dict[str, int] = field(default_factory=dict)

    def add(self, key: int, piece: Piece) -> Iterator[Clipped]:
        """Take a piece; yield the results of a batch that it filled."""
        shape = (piece.model, *((name, a.shape[1:], a.dtype.str) for name, a in sorted(piece.inputs.items())))
        group = self._waiting.setdefault(shape, [])
        group.append((key, piece))
        if sum(len(piece.spans) for _, piece in group) >= self.size:
            yield from self._run(self._waiting.pop(shape))

    def flush(self) -> Iterator[Clipped]:
        """Run what waits, full or not."""
        while self._waiting:
            yield from self._run(self._waiting.pop(next(iter(self._waiting))))

    def drop(self, key: int) -> None:
        """Forget what waits of one source."""
        for shape, group in list(self._waiting.items()):
            self._waiting[shape] = [entry for entry in group if entry[0] != key]
            if not self._waiting[shape]:
                del self._waiting[shape]

    def _run(self, group: Sequence[tuple[int, Piece]]) -> Iterator[Clipped]:
        pieces = [piece for _, piece in group]
        model = pieces[0].model
        inputs = {name: np.concatenate([piece.inputs[name] for piece in pieces]) for name in pieces[0].inputs}
        owners = [(key, piece.kind, span) for key, piece in group for span in piece.spans]
        results: list[np.ndarray | Exception] = []
        while len(results) < len(owners):
            size = self._fits.get(model, self.size)
            results += self._isolate(model, _rows(inputs, len(results), len(results) + size))
        for (key, kind, (start, stop)), result in zip(owners, results, strict=True):
            yield Clipped(key, model, kind, start, stop, result)

    def _isolate(self, model: str, inputs: Inputs) -> list[np.ndarray | Exception]:
        count = len(next(iter(inputs.values())))
        try:
            return [_checked(model, vector) for vector in self.encode(model, inputs)]
        except Exception as error:
            if count == 1:
                return [error]
            if _out_of_memory(error):
                self._fits[model] = min(self._fits.get(model, count), max(1, count // 2))
                log.warning("%s: out of memory at batch %d, going on with %d", model, count, self._fits[model])
        half = count // 2
        return self._isolate(model, _rows(inputs, 0, half)) + self._isolate(model, _rows(inputs, half, count))


def _rows(inputs: Inputs, start: int, stop: int) -> Inputs:
    return {name: array[start:stop] for name, array in inputs.items()}


def _checked(model: str, vector: np.ndarray) -> np.ndarray | Exception:
    if np.isfinite(vector).all():
        return vector
    bad = int(np.count_nonzero(~np.isfinite(vector)))
    return EncodeError(f"{model} gave a vector with {bad} of {len(vector)} numbers not finite")


def _out_of_memory(error: Exception) -> bool:
    """Python's own, or torch's, which cannot be named without importing torch."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
