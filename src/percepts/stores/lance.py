"""Search the committed parts of a job directory with LanceDB, in a table per model that follows the manifest.

The table is a copy and can always be built again. A ledger beside it lists the parts in it, by name and digest, and
the version of the table that has exactly those. Readers use that version only, and a writer first goes back to it, so a
sync that was killed has no effect.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from filelock import FileLock
from lancedb.index import IvfSq

from ..errors import JobDamaged, JobError
from ..support.files import safe_name, write_file
from . import exact, parquet
from .lance_files import FOLDER, erase_table, refuse_foreign_index
from .scoring import SLACK, Hits, RowFilter, build_hits, check_query, has_direction, select_best

log = logging.getLogger(__name__)

SCHEMA = 1
"""Version of the layout of ledger and table. An index of another version is built again."""
ANN_ABOVE = 100_000
"""Rows up to which every vector is compared: 74 ms for 90 000 of 384 dimensions on two cores (bench/search.py)."""
FRAGMENTS = 16
"""Fragments that a table may gain before they are merged."""
GROWTH = 1.2
"""Growth of a table after which its ANN index is built again. Until then new rows are compared one by one."""
ROWS_A_PARTITION = 2_048
SAMPLE = 100
RECALL = 0.95
"""Least share of the ten nearest rows that the index must find, on average over the sample. It searches more partitions
until it does."""
SPARE = 16
"""Candidates beyond k, so that one query is enough where distances are close but not equal."""
WIDER = 4
"""Candidates for each hit from the ANN index, whose distances are those of 8-bit vectors. Exact scores rank them."""

_NONE = 0  # LanceDB counts versions from 1
"""Version in the ledger of a table that must be built again."""
_DAMAGED = (ValueError, RuntimeError)
"""Errors that LanceDB raises where its files are absent or damaged."""


@dataclass(frozen=True, slots=True)
class IndexedPart:
    """A part that is in the table. Its rows have `number` in the column `part`."""

    number: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class AnnIndex:
    """An index for approximate search, and its measured recall.

    `recall` is the share of the ten nearest rows of exact search that it found, for `queries` queries. Half of them are
    stored vectors, and half the midpoint of two, since the vector of a text also lies between those of images.
    """

    kind: str
    rows: int
    partitions: int
    probes: int
    recall: float
    queries: int


@dataclass(frozen=True, slots=True)
class IndexLedger:
    """What the table holds at `version`, in how many pieces; `compacted_fragments` is how many the last merge left."""

    dim: int
    version: int
    parts: dict[str, IndexedPart]
    ann: AnnIndex | None = None
    pieces: int = 0
    compacted_fragments: int = 0
    schema: int = SCHEMA

    @property
    def rows(self) -> int:
        """Number of rows that can be found."""
        return sum(part.rows for part in self.parts.values())

    def holds(self, listed: dict[str, str]) -> bool:
        """Return whether the table has exactly these parts, by name and digest."""
        return {name: part.sha256 for name, part in self.parts.items()} == listed


class VectorIndex:
    """Index of the committed vectors of one model for nearest neighbours; its files are in DIR/index.

    Up to `ann_above` rows the hits are those of `search_exact`, in the same order. Above, an approximate index is used,
    and `Hits.recall` is its measured recall. Where a filter leaves fewer rows than that, the search is exact.

    Args:
        directory: the job directory.
        model: name of one of its tables.
        ann_above: number of rows above which the approximate index is used.
        retention: seconds for which a replaced version of the table is kept for other readers.

    Raises:
        JobError: the directory or the table does not exist.
    """

    def __init__(
        self, directory: str | Path, model: str, *, ann_above: int = ANN_ABOVE, retention: float = 600.0
    ) -> None:
        # absolute, because LanceDB takes some relative paths for URLs
        self._directory, self._model = Path(directory).absolute(), model
        specs = parquet.read_specs(directory)
        if model not in specs:
            raise JobError(f"{directory}: no vectors of {model!r}; there are: {', '.join(specs) or 'none'}")
        self._dim = specs[model].dim
        self._ann_above, self._retention = ann_above, timedelta(seconds=retention)
        self._name = safe_name(model)
        self._folder = self._directory / FOLDER
        self._file = self._folder / f"{self._name}.json"
        self._opened: tuple[int, Any] | None = None

    def sync(self) -> IndexLedger:
        """Bring the table to what the manifest lists, also after an interrupted sync. Fast where it is up to date."""
        refuse_foreign_index(self._folder, self._name)
        ledger = self._read()
        # before the lock, so that a search of a finished job neither waits nor writes
        if ledger is not None and self._is_current(ledger, self._listed_parts()):
            return ledger
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._lock():
            return self._update()

    def search(self, vector: np.ndarray, k: int = 10, *, where: RowFilter | None = None) -> Hits:
        """Return the k nearest rows by cosine, best first; rows of equal score by source, then start. Syncs first.

        Raises:
            SearchError: the vector has a wrong length, is zero or not finite, or k is below 1.
            JobError: a file that percepts did not make is in the place of the index.
        """
        query, where, ledger = check_query(vector, self._dim, k), where or RowFilter(), self.sync()
        try:
            return self._search(ledger, query, k, where)
        except _DAMAGED as error:
            log.warning("%s: the index of %s cannot be read: %s", self._folder, self._model, error)
        with self._lock():
            if self._read() == ledger:  # no other process has rebuilt it meanwhile
                self._save(IndexLedger(self._dim, _NONE, {}))
            self._opened = None
            ledger = self._update()
        try:
            return self._search(ledger, query, k, where)
        except _DAMAGED as error:
            raise JobDamaged(
                f"{self._folder}: the index of {self._model} was built again and still cannot be read: {error}"
            ) from error

    def _search(self, ledger: IndexLedger, query: np.ndarray, k: int, where: RowFilter) -> Hits:
        if not ledger.rows:
            return Hits([], self._model)
        table, condition = self._open(ledger), where.to_sql()
        left = table.count_rows(condition) if condition else ledger.rows
        if ledger.ann is None or left <= self._ann_above:
            best, recall = _search_exactly(table, query, k, condition), None
        else:
            best, recall = _search_approximately(table, query, k, condition, ledger.ann.probes), ledger.ann.recall
        return Hits([] if best is None else build_hits(*best, self._model), self._model, recall)

    def _listed_parts(self) -> dict[str, str]:
        return {info.name: info.sha256 for info in parquet.list_parts(self._directory)[self._model]}

    def _lock(self) -> FileLock:
        # a lock that the system releases when its holder dies
        return FileLock(self._folder / f"{self._name}.lock")

    def _open(self, ledger: IndexLedger) -> Any:
        if self._opened is None or self._opened[0] != ledger.version:
            table = lancedb.connect(self._folder).open_table(self._name)
            table.checkout(ledger.version)
            if (count := table.count_rows()) != ledger.rows:
                raise ValueError(f"expected {ledger.rows} rows, found {count}")
            self._opened = ledger.version, table
        return self._opened[1]

    def _update(self) -> IndexLedger:
        """Bring the table from its last good version to what the manifest lists. The caller must hold the lock."""
        while True:
            listed = self._listed_parts()
            try:
                return self._sync_locked(listed)
            except JobDamaged:
                if self._listed_parts() == listed:
                    raise
                # a job replaced a part while it was read, so read again by the new manifest

    def _sync_locked(self, listed: dict[str, str]) -> IndexLedger:
        ledger = self._read()
        if ledger is not None and self._is_current(ledger, listed):  # another process did it while we waited
            return ledger
        table = self._restore_version(ledger)
        if table is not None and ledger is not None:
            try:
                return self._maintain(table, self._apply_changes(table, ledger, listed))
            except _DAMAGED as error:
                log.warning("%s: the index of %s is made again: %s", self._folder, self._model, error)
        table, ledger = self._create_table()
        try:
            return self._maintain(table, self._apply_changes(table, ledger, listed))
        except _DAMAGED as error:
            raise JobDamaged(
                f"{self._folder}: the index of {self._model} cannot be made: {error}; "
                f"`percepts verify {self._directory}` checks the rows it is made of"
            ) from error

    def _is_current(self, ledger: IndexLedger, listed: dict[str, str]) -> bool:
        return ledger.holds(listed) and not self._is_fragmented(ledger) and not self._needs_reindex(ledger)

    def _is_fragmented(self, ledger: IndexLedger) -> bool:
        return ledger.pieces > ledger.compacted_fragments + FRAGMENTS

    def _needs_reindex(self, ledger: IndexLedger) -> bool:
        return ledger.rows > max(self._ann_above, GROWTH * ledger.ann.rows if ledger.ann else 0)

    def _apply_changes(self, table: Any, ledger: IndexLedger, listed: dict[str, str]) -> IndexLedger:
        """Delete the rows of parts that are not listed any more, and add those of new parts."""
        if ledger.holds(listed):
            return ledger
        parts = {name: part for name, part in ledger.parts.items() if listed.get(name) == part.sha256}
        stale = [part.number for name, part in ledger.parts.items() if name not in parts]
        if stale:
            table.delete(f"part IN ({', '.join(map(str, stale))})")
        # of all parts, stale ones too: a number is not given to a new part in the sync that deletes its rows
        first = 1 + max((part.number for part in ledger.parts.values()), default=-1)
        missing = {name: number for number, name in enumerate((n for n in listed if n not in parts), first)}
        counts = _PartFeed(self._directory, missing, self._dim).add_to(table)
        parts |= {name: IndexedPart(number, listed[name], counts[name]) for name, number in missing.items()}
        return self._write(replace(ledger, parts=parts), table)

    def _restore_version(self, ledger: IndexLedger | None) -> Any | None:
        """Return the table at the version of the ledger, ready for writing; None where that is not available."""
        if ledger is None or ledger.version == _NONE:
            return None
        try:
            table = lancedb.connect(self._folder).open_table(self._name)
            if table.version != ledger.version:  # a killed sync has left later versions
                table.restore(ledger.version)
            if (count := table.count_rows()) == ledger.rows:
                return table
            wrong = f"expected {ledger.rows} rows, found {count}"
        except _DAMAGED as error:
            wrong = str(error)
        log.warning("%s: the index of %s is made again: %s", self._folder, self._model, wrong)
        return None

    def _create_table(self) -> tuple[Any, IndexLedger]:
        self._save(IndexLedger(self._dim, _NONE, {}))  # from here on the ledger shows that percepts made the table
        erase_table(self._folder, self._name)
        table = lancedb.connect(self._folder).create_table(self._name, schema=_table_schema(self._dim))
        return table, IndexLedger(self._dim, table.version, {})

    def _maintain(self, table: Any, ledger: IndexLedger) -> IndexLedger:
        """Merge fragments and rebuild the ANN index where they are due. The rows do not change."""
        if self._is_fragmented(ledger):
            table.optimize(cleanup_older_than=self._retention)
            ledger = self._write(replace(ledger, compacted_fragments=_count_fragments(table)), table)
        if self._needs_reindex(ledger):
            ann = self._build_ann_index(table, ledger.rows)
            log.info("index of %s: %s over %d rows, recall@10 %.3f", self._model, ann.kind, ann.rows, ann.recall)
            ledger = self._write(replace(ledger, ann=ann), table)
        return ledger

    def _build_ann_index(self, table: Any, rows: int) -> AnnIndex:
        partitions = max(1, rows // ROWS_A_PARTITION)
        table.create_index("vector", config=IvfSq(distance_type="cosine", num_partitions=partitions))
        queries = _sample_queries(table, rows)
        batches = table.search().select(list(exact.COLUMNS)).to_batches(parquet.BATCH)
        truth = exact.find_nearest(batches, queries, 10)
        bars = [best[1][-1] for best in truth if best is not None]
        probes = 16
        while True:
            probes = min(probes, partitions)
            recall = _measure_recall(table, queries, bars, probes)
            if recall >= RECALL or probes == partitions:
                return AnnIndex("IVF_SQ", rows, partitions, probes, recall, len(queries))
            probes *= 2

    def _read(self) -> IndexLedger | None:
        """Return the ledger; None where there is none, it is damaged, or of another layout."""
        try:
            ledger = _parse_ledger(json.loads(self._file.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # whatever is in the file, the table can be made again from the parts
            return None
        return ledger if (ledger.schema, ledger.dim) == (SCHEMA, self._dim) else None

    def _write(self, ledger: IndexLedger, table: Any) -> IndexLedger:
        """Save the ledger with the present version of the table. From then on readers use that version."""
        ledger = replace(ledger, version=table.version, pieces=_count_fragments(table))
        self._save(ledger)
        return ledger

    def _save(self, ledger: IndexLedger) -> None:
        keys = {"compacted_fragments": "tidied"}  # in the file this field has the name that it had in older releases
        # indent and order matter: lance_files.LEDGER_BEGINNING knows the file by them
        write_file(
            self._file, json.dumps({keys.get(key, key): value for key, value in asdict(ledger).items()}, indent=1)
        )


def _parse_ledger(row: dict[str, Any]) -> IndexLedger:
    """Parse a ledger from JSON. Raise ValueError, KeyError, TypeError or AttributeError for anything else."""
    numbers = [row[name] for name in ("dim", "version", "pieces", "tidied", "schema")]
    parts = {str(name): IndexedPart(**part) for name, part in row["parts"].items()}
    numbers += [number for part in parts.values() for number in (part.number, part.rows)]
    # type and not isinstance: true is an int in Python, and JSON has true
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f"expected whole numbers from 0, got {numbers}")
    ann = AnnIndex(**row["ann"]) if row["ann"] else None
    if ann and any(type(number) is not int or number < 1 for number in (ann.rows, ann.partitions, ann.probes)):
        raise ValueError(f"expected whole numbers from 1, got {ann}")
    return IndexLedger(row["dim"], row["version"], parts, ann, row["pieces"], row["tidied"], row["schema"])


class _PartFeed:
    """The rows of some parts with their numbers, in the schema of the table, counted as they are read."""

    def __init__(self, directory: Path, numbers: dict[str, int], dim: int) -> None:
        self._directory, self._numbers, self._schema = directory, numbers, _table_schema(dim)
        self._counts = dict.fromkeys(numbers, 0)
        self._error: JobError | None = None

    def add_to(self, table: Any) -> dict[str, int]:
        """Add the rows to a table in one transaction; return the number of rows by part."""
        if not self._numbers:
            return self._counts
        try:
            table.add(pa.RecordBatchReader.from_batches(self._schema, self._batches()))
        except _DAMAGED:
            if self._error is not None:  # LanceDB wraps the error of its source in its own
                raise self._error from None
            raise
        return self._counts

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for name, number in self._numbers.items():
                for batch in parquet.read_part(self._directory / name, exact.COLUMNS):
                    if not np.isfinite(parquet.batch_vectors(batch)).all():
                        raise JobDamaged(
                            f"{self._directory / name}: a vector is not finite; "
                            f"`percepts verify {self._directory} --repair` makes it again"
                        )
                    batch = batch.filter(pa.array(has_direction(batch)))
                    self._counts[name] += batch.num_rows
                    columns = [pa.array(np.full(batch.num_rows, number), pa.int64())]
                    columns += [batch[field.name] for field in self._schema if field.name != "part"]
                    yield pa.RecordBatch.from_arrays(columns, schema=self._schema)
        except JobError as error:
            self._error = error
            raise


def _table_schema(dim: int) -> pa.Schema:
    element = pa.field("element", pa.float32(), nullable=False)
    return pa.schema(
        [
            pa.field("part", pa.int64(), nullable=False),
            *(pa.field(name, pa.string(), nullable=False) for name in ("id", "source", "kind")),
            *(pa.field(name, pa.float64(), nullable=False) for name in ("start", "stop")),
            pa.field("vector", pa.list_(element, dim)),
            pa.field("labels", pa.list_(pa.field("element", pa.string(), nullable=False)), nullable=False),
            pa.field("text", pa.string()),
        ]
    )


def _search_exactly(table: Any, query: np.ndarray, k: int, condition: str | None) -> exact.Best | None:
    """Return the k best rows of a table. LanceDB's float32 distances select candidates, and exact scores rank them."""
    count = k + SPARE
    while True:  # until no row that was left out can be among the k
        rows = _query_table(table, query, count, condition, bypass=True)
        if rows is None:
            return None
        farthest = 1.0 - rows["_distance"][-1].as_py()
        best = select_best(rows, query, k)
        if rows.num_rows < count or farthest + SLACK < best[1][-1]:
            return best
        count *= 4  # any number of rows may have one distance, such as frames of a black film


def _search_approximately(
    table: Any, query: np.ndarray, k: int, condition: str | None, probes: int
) -> exact.Best | None:
    rows = _query_table(table, query, WIDER * k, condition, probes=probes)
    return None if rows is None else select_best(rows, query, k)


def _query_table(
    table: Any, query: np.ndarray, k: int, condition: str | None, *, bypass: bool = False, probes: int = 0
) -> pa.RecordBatch | None:
    """Return the k rows that are nearest by LanceDB, nearest first, with their vectors and `_distance`."""
    search = table.search(query, vector_column_name="vector").distance_type("cosine").limit(k)
    search = search.bypass_vector_index() if bypass else search.nprobes(probes)
    if condition:
        search = search.where(condition, prefilter=True)  # filtered afterwards, fewer than k rows might be left
    batches = search.select([*exact.COLUMNS, "_distance"]).to_arrow().combine_chunks().to_batches()
    # of a table without rows Arrow makes no batch, not an empty one
    return batches[0] if batches else None


def _count_fragments(table: Any) -> int:
    return int(table.stats()["fragment_stats"]["num_fragments"])


def _sample_queries(table: Any, rows: int) -> np.ndarray:
    """Return (SAMPLE, D) queries: stored vectors, and midpoints of two."""
    rng = np.random.default_rng(0)  # a fixed seed, so that the same table gives the same recall
    offsets, drawn = np.unique(rng.integers(0, rows, (3, SAMPLE // 2)), return_inverse=True)
    # rows come sorted by offset, hence np.unique and its inverse
    stored = table.take_offsets(offsets.tolist()).select(["vector"]).to_arrow().combine_chunks().to_batches()[0]
    vectors = parquet.batch_vectors(stored)
    # reshape, because the inverse of a matrix is flat before numpy 2
    alone, one, other = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True))[drawn.reshape(3, -1)]
    return np.concatenate([alone, one + other])


def _measure_recall(table: Any, queries: np.ndarray, bars: list[float], probes: int) -> float:
    """Return the mean share of the ten nearest rows that were found. A row as near as the tenth counts as found."""
    shares = []
    for query, bar in zip(queries, bars, strict=True):
        best = _search_approximately(table, query, 10, None, probes)
        shares.append(0.0 if best is None else float((best[1] >= bar).sum()) / 10)
    return float(np.mean(shares))
