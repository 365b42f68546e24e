"""Search a job directory exactly: compare the query with every committed vector.

This reads all parquet parts, so it is slow. The tests compare the index with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from .parquet import batch_vectors, read_parts, read_specs
from .scoring import SLACK, Hits, Metric, RowFilter, build_hits, check_query, select_best

COLUMNS = ("id", "source", "kind", "start", "stop", "vector", "labels", "text")


def search_exact(
    directory: str | Path,
    model: str,
    query: np.ndarray,
    k: int = 10,
    *,
    metric: Metric = "cosine",
    where: RowFilter | None = None,
) -> Hits:
    """Return the k nearest rows of a job directory, best first; rows of equal score by source, then start.

    Memory holds one batch of rows. A row without a vector, or with a zero vector, is never returned.

    Args:
        directory: the job directory.
        model: name of one of its tables.
        query: (D,) vector of the same model.
        k: number of rows.
        metric: "cosine" or "dot".
        where: filter of rows.
    """
    batches = read_parts(directory, model, COLUMNS)
    query = check_query(query, read_specs(directory)[model].dim, k)
    (best,) = find_nearest(filter_batches(batches, where or RowFilter()), query[None], k, metric)
    return Hits([] if best is None else build_hits(*best, model), model)


def filter_batches(batches: Iterable[pa.RecordBatch], where: RowFilter) -> Iterator[pa.RecordBatch]:
    """Yield the rows that pass a filter and have a direction. Batches without any are left out."""
    for batch in batches:
        mask = where.mask(batch)
        if mask.any():
            yield batch if mask.all() else batch.filter(pa.array(mask))


Best = tuple[pa.RecordBatch, np.ndarray]


def find_nearest(
    batches: Iterable[pa.RecordBatch], queries: np.ndarray, k: int, metric: Metric = "cosine"
) -> Sequence[Best | None]:
    """Return for each of (Q, D) queries the k best rows of all batches with their scores; None where there are no rows.

    A float32 matrix product selects the candidates of each batch, with slack for its rounding; float64 ranks them.
    """
    best: list[Best | None] = [None] * len(queries)
    for batch in batches:
        rough, slack = _score_roughly(batch_vectors(batch), queries, metric)
        for number, query in enumerate(queries):
            rows = _select_candidates(rough[number], best[number], k, slack[number])
            if len(rows):
                best[number] = _merge_best(best[number], batch.take(pa.array(rows)), query, k, metric)
    return best


def _score_roughly(rows: np.ndarray, queries: np.ndarray, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """Return (Q, B) float32 scores, and the largest error of each query's scores, (Q,)."""
    row_norms, query_norms = np.linalg.norm(rows, axis=1), np.linalg.norm(queries, axis=1)
    if metric == "cosine":
        return (queries / query_norms[:, None]) @ (rows / row_norms[:, None]).T, np.full(len(queries), SLACK)
    # initial, because numpy knows no maximum of an empty batch
    return queries @ rows.T, SLACK * query_norms * row_norms.max(initial=0.0)


def _select_candidates(rough: np.ndarray, so_far: Best | None, k: int, slack: float) -> np.ndarray:
    """Return the rows that could be among the k best: not further below the k-th score than rounding explains."""
    bar = -np.inf
    if so_far is not None and len(so_far[1]) == k:  # with fewer than k so far, no row can be left out
        bar = so_far[1][-1]
    if len(rough) > k:
        # partition, because only the k-th score is needed and not the order of the others
        bar = max(bar, np.partition(rough, -k)[-k] - slack)
    return np.flatnonzero(rough >= bar - slack)  # slack twice: the k-th score may be too high, and this row's too low


def _merge_best(so_far: Best | None, batch: pa.RecordBatch, query: np.ndarray, k: int, metric: Metric) -> Best:
    if so_far is not None:
        batch = pa.concat_batches([so_far[0], batch])
    return select_best(batch, query, k, metric)
