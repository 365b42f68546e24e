"""What every search here agrees on: how a vector scores, which rows a filter leaves, in which order hits come.

Scores are computed row by row in float64, so that no batch size, no index and no BLAS can change an order.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import SearchError
from ..types import KINDS, Kind, Record
from .parquet import batch_records, batch_vectors

Metric = Literal["cosine", "dot"]

SLACK = 1e-4
"""How far a float32 cosine may be from ours: 1280 products of unit vectors, 6e-8 each, and all of them the same way."""


By = Literal["vector", "label", "text"]


@dataclass(frozen=True, slots=True)
class Match:
    """One reason for which a record was found.

    by     its vector, one of its labels, or its text
    score  a cosine; the label's score times the share of the words that it has; BM25
    words  those of the text that were asked for, or the label
    at     seconds at which the first of them is said, where the times of words are known
    """

    by: By
    score: float
    model: str
    words: tuple[str, ...] = ()
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A record that was found, how well it fits, and by what it was found.

    `score` is what the one table that was asked says, for vectors a cosine: 1.0 is the same direction as the query, 0.0
    unrelated. Where several were, it is the sum of 1 / (60 + rank) over them: good for an order, and for no more.
    """

    record: Record
    score: float
    matches: tuple[Match, ...] = ()


class Hits(list[Hit]):
    """Hits, best first. `recall` is None where the answer is exact, else the recall@10 measured for the index."""

    def __init__(self, found: Iterable[Hit], model: str, recall: float | None = None) -> None:
        super().__init__(found)
        self.model = model
        self.recall = recall


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows count.

    kind     of the medium the row came from
    folder   sources in it, at any depth, or that one file; as it was given to `embed`, or absolute
    after    rows that begin at this second of their source or later; a picture begins at 0
    before   rows that begin before this second
    """

    kind: Kind | None = None
    folder: str | Path | None = None
    after: float | None = None
    before: float | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise SearchError(f"no kind called {self.kind!r}; there are: {', '.join(KINDS)}")
        for name, seconds in (("after", self.after), ("before", self.before)):
            if seconds is not None and not math.isfinite(seconds):
                raise SearchError(f"expected {name} in seconds, got {seconds}")

    def __bool__(self) -> bool:
        """Whether it can leave anything out."""
        return self != RowFilter()

    def mask(self, batch: pa.RecordBatch) -> np.ndarray:
        """(B,) bool: the rows of a batch that count, among those that have a direction."""
        return np.asarray(has_direction(batch) & self.selects(batch))

    def selects(self, batch: pa.RecordBatch) -> np.ndarray:
        """(B,) bool: the rows of a batch that count, with a vector or without."""
        keep = np.ones(batch.num_rows, bool)
        if self.kind is not None:
            keep &= _to_bools(pc.equal(batch["kind"], self.kind))
        if self.folder is not None:
            keep &= self._in_folder(batch["source"])
        if self.after is not None:
            keep &= _to_bools(pc.greater_equal(batch["start"], self.after))
        if self.before is not None:
            keep &= _to_bools(pc.less(batch["start"], self.before))
        return keep

    def to_sql(self) -> str | None:
        """The same as a condition in SQL, None where everything counts."""
        terms: list[str] = []
        if self.kind is not None:
            terms.append(f"kind = {quote_sql(self.kind)}")
        if self.folder is not None:
            # No LIKE: a folder's name may hold its wildcards, and starts_with has none.
            either = [f"source = {quote_sql(place)}" for place in self._folder_forms()]
            either += [f"starts_with(source, {quote_sql(prefix)})" for prefix in self._path_prefixes()]
            terms.append(f"({' OR '.join(either)})")
        if self.after is not None:
            terms.append(f"start >= {float(self.after)!r}")
        if self.before is not None:
            terms.append(f"start < {float(self.before)!r}")
        return " AND ".join(terms) or None

    def _in_folder(self, sources: pa.Array) -> np.ndarray:
        inside = _to_bools(pc.is_in(sources, value_set=pa.array(self._folder_forms())))
        for prefix in self._path_prefixes():
            inside |= _to_bools(pc.starts_with(sources, prefix))
        return inside

    def _folder_forms(self) -> list[str]:
        """The folder as it was given and, unless it is a URL, as an absolute path; no slash at the end."""
        given = os.fspath(self.folder or ".")
        both = [given] if "://" in given else [given, os.path.abspath(given)]
        return sorted({place.rstrip(_SEPARATORS) or "/" for place in both})

    def _path_prefixes(self) -> list[str]:
        return sorted({place.rstrip("/") + separator for place in self._folder_forms() for separator in _SEPARATORS})


_SEPARATORS = "/" if os.sep == "/" else "/" + os.sep


def quote_sql(text: str) -> str:
    """A string literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def has_direction(batch: pa.RecordBatch) -> np.ndarray:
    """(B,) bool: rows that have a vector, and not a zero one, which has no direction and is near nothing."""
    return np.asarray(batch_vectors(batch).any(axis=1))


def dot(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Inner products of (N, D) with (D,): (N,) float64. A row's value does not depend on the other rows."""
    return np.asarray((_as_float64(vectors) * _as_float64(query)).sum(axis=1))


def cosine(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Cosines of (N, D) with (D,), none of them zero: (N,) float64."""
    rows, query = _as_float64(vectors), _as_float64(query)
    norms = np.sqrt((rows * rows).sum(axis=1)) * np.sqrt((query * query).sum())
    return np.asarray((rows * query).sum(axis=1) / norms)


SCORES: dict[Metric, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"cosine": cosine, "dot": dot}


def check_query(query: np.ndarray, dim: int, k: int) -> np.ndarray:
    """The query as (D,) float32. `SearchError` where it is no direction in this space, or k is no number of hits."""
    query = np.asarray(query, np.float32)
    if query.shape != (dim,):
        raise SearchError(f"expected a query of {dim} numbers, got {list(query.shape)}: another model made it")
    if not np.isfinite(query).all() or not query.any():
        raise SearchError("expected a query of finite numbers that are not all zero: this one has no direction")
    if k < 1:
        raise SearchError(f"expected k of at least 1, got {k}")
    return query


def rank_rows(batch: pa.RecordBatch, scores: np.ndarray) -> list[int]:
    """Rows of a batch, best first; equal scores by source, then start, stop, id."""
    columns = [batch[name].to_pylist() for name in ("source", "start", "stop", "id")]
    keys = list(zip((-scores).tolist(), *columns, strict=True))
    return sorted(range(len(keys)), key=keys.__getitem__)


def select_best(
    batch: pa.RecordBatch, query: np.ndarray, k: int, metric: Metric = "cosine"
) -> tuple[pa.RecordBatch, np.ndarray]:
    """The k best rows of a batch, best first, and their (k,) scores."""
    scores = SCORES[metric](batch_vectors(batch), query)
    order = rank_rows(batch, scores)[:k]
    return batch.take(pa.array(order, pa.int64())), scores[order]


def build_hits(batch: pa.RecordBatch, scores: np.ndarray, model: str) -> list[Hit]:
    """Rows with their scores, as records."""
    pairs = zip(batch_records(batch, model), map(float, scores), strict=True)
    return [Hit(record, score, (Match("vector", score, model),)) for record, score in pairs]


def _as_float64(array: np.ndarray) -> np.ndarray:
    """As float64, rows contiguous: numpy adds up a row in the same order then, however many there are."""
    return array.astype(np.float64, order="C")


def _to_bools(array: pa.Array) -> np.ndarray:
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=bool)
