"""Score vectors, filter rows and order hits, in the same way for every kind of search.

Scores are computed row by row in float64, so that batch sizes, indexes and BLAS libraries cannot change the order.
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
from ..support.deprecated import OldAttribute
from ..support.short_repr import ShortRepr
from ..types import KINDS, Kind, Record
from .parquet import batch_records, batch_vectors

Metric = Literal["cosine", "dot"]

SLACK = 1e-4
"""Largest error of a float32 cosine: 1280 products of unit vectors, each rounded by 6e-8 in the same direction."""


By = Literal["vector", "label", "text"]


@dataclass(frozen=True, slots=True)
class Match:
    """One reason why a record was found.

    Attributes:
        by: "vector", "label" or "text": what of the record matched.
        score: cosine of a vector, BM25 of a text, or score of a label times the share of the query's words in it.
        model: name of the model whose table was searched.
        words: the words of the text that the query has, or the label.
        at: seconds at which the first of the words is spoken, where the times of words are known.
    """

    by: By
    score: float
    model: str
    words: tuple[str, ...] = ()
    at: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Hit(ShortRepr):
    """A record that was found, with its score and the reasons.

    Where one table was searched, `score` is that of the table; for vectors a cosine: 1.0 is the same direction as the
    query, 0.0 unrelated. Where several were searched, it is the sum of 1 / (60 + rank) over them, which orders hits but
    has no other meaning.
    """

    record: Record
    score: float
    matches: tuple[Match, ...] = ()

    matched = OldAttribute("matches")


class Hits(list[Hit]):
    """A list of hits, best first. `recall` is None for an exact search, else the recall@10 measured for the index."""

    def __init__(self, hits: Iterable[Hit], model: str, recall: float | None = None) -> None:
        super().__init__(hits)
        self.model = model
        self.recall = recall


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Conditions on the rows that a search returns. A condition that is None lets every row pass.

    Attributes:
        kind: "image", "audio" or "video", the kind of the source.
        folder: folder with the source at any depth, or path of the source; as it was given to `embed`, or absolute.
        after: rows that begin at this second of their source or later. An image begins at 0.
        before: rows that begin before this second.
    """

    kind: Kind | None = None
    folder: str | Path | None = None
    after: float | None = None
    before: float | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise SearchError(f"unknown kind {self.kind!r}; the kinds are: {', '.join(KINDS)}")
        for name, seconds in (("after", self.after), ("before", self.before)):
            if seconds is not None and not math.isfinite(seconds):
                raise SearchError(f"expected {name} in seconds, got {seconds}")

    def __bool__(self) -> bool:
        """Return whether any condition is set."""
        return self != RowFilter()

    def mask(self, batch: pa.RecordBatch) -> np.ndarray:
        """Return (B,) bool: the rows of a batch that pass and have a direction."""
        return np.asarray(has_direction(batch) & self.selects(batch))

    def selects(self, batch: pa.RecordBatch) -> np.ndarray:
        """Return (B,) bool: the rows of a batch that pass, with a vector or without."""
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
        """Return the conditions as SQL; None where there are none."""
        terms: list[str] = []
        if self.kind is not None:
            terms.append(f"kind = {quote_sql(self.kind)}")
        if self.folder is not None:
            # not LIKE, because the name of a folder may contain its wildcards
            either = [f"source = {quote_sql(place)}" for place in self._folder_forms()]
            either += [f"starts_with(source, {quote_sql(prefix)})" for prefix in self._path_prefixes()]
            terms.append(f"({' OR '.join(either)})")
        if self.after is not None:
            # repr has all digits, so that SQL compares with the same number as Arrow
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
        """Return the folder as given and, unless it is a URL, as an absolute path, without a slash at the end."""
        given = os.fspath(self.folder or ".")
        both = [given] if "://" in given else [given, os.path.abspath(given)]
        return sorted({place.rstrip(_SEPARATORS) or "/" for place in both})  # the root is nothing but a slash

    def _path_prefixes(self) -> list[str]:
        return sorted({place.rstrip("/") + separator for place in self._folder_forms() for separator in _SEPARATORS})


_SEPARATORS = "/" if os.sep == "/" else "/" + os.sep  # Windows takes both


def quote_sql(text: str) -> str:
    """Return a text as a string literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def has_direction(batch: pa.RecordBatch) -> np.ndarray:
    """Return (B,) bool: the rows that have a vector other than zero. A zero vector has no cosine."""
    return np.asarray(batch_vectors(batch).any(axis=1))


def dot(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the inner products of (N, D) with (D,), as (N,) float64. A row's value does not depend on other rows."""
    # not `@`: BLAS may add in another order for another number of rows
    return np.asarray((_as_float64(vectors) * _as_float64(query)).sum(axis=1))


def cosine(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the cosines of (N, D) with (D,), as (N,) float64. No vector may be zero."""
    rows, query = _as_float64(vectors), _as_float64(query)
    norms = np.sqrt((rows * rows).sum(axis=1)) * np.sqrt((query * query).sum())
    return np.asarray((rows * query).sum(axis=1) / norms)


SCORES: dict[Metric, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"cosine": cosine, "dot": dot}


def check_query(query: np.ndarray, dim: int, k: int) -> np.ndarray:
    """Return the query as (D,) float32. SearchError for a wrong length, NaN, a zero vector, or k below 1."""
    query = np.asarray(query, np.float32)
    if query.shape != (dim,):
        raise SearchError(f"expected a query of {dim} numbers, got {list(query.shape)}: another model made it")
    if not np.isfinite(query).all() or not query.any():
        raise SearchError("expected a query of finite numbers that are not all zero: others have no direction")
    if k < 1:
        raise SearchError(f"expected k of at least 1, got {k}")
    return query


def rank_rows(batch: pa.RecordBatch, scores: np.ndarray) -> list[int]:
    """Return the row numbers of a batch, best first; rows of equal score by source, then start, stop, id."""
    columns = [batch[name].to_pylist() for name in ("source", "start", "stop", "id")]
    keys = list(zip((-scores).tolist(), *columns, strict=True))  # negated, so that sources of equal score ascend
    return sorted(range(len(keys)), key=keys.__getitem__)


def select_best(
    batch: pa.RecordBatch, query: np.ndarray, k: int, metric: Metric = "cosine"
) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return the k best rows of a batch, best first, and their (k,) scores."""
    scores = SCORES[metric](batch_vectors(batch), query)
    order = rank_rows(batch, scores)[:k]
    return batch.take(pa.array(order, pa.int64())), scores[order]


def build_hits(batch: pa.RecordBatch, scores: np.ndarray, model: str) -> list[Hit]:
    """Return rows and their scores as hits."""
    pairs = zip(batch_records(batch, model), map(float, scores), strict=True)
    return [Hit(record, score, (Match("vector", score, model),)) for record, score in pairs]


def _as_float64(array: np.ndarray) -> np.ndarray:
    """Convert to float64 with contiguous rows."""
    # numpy then adds up each row in the same order, however many rows there are
    return array.astype(np.float64, order="C")


def _to_bools(array: pa.Array) -> np.ndarray:
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=bool)  # Arrow packs eight bools into a byte
