"""Write rows as parquet parts, atomically, and read the committed parts of a job directory in batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import JobDamaged, JobError
from ..support.files import atomic_file
from ..types import Record, Segment, Spec
from .manifest import PartInfo, read_manifest

OURS = ("data", "ledger")
"""Folders of a job directory. A file in them that the manifest does not list was left by a killed run."""
ROW_GROUP = 16_384
"""Rows of a row group, the least that a reader must hold: 84 MB of vectors at 1280 dimensions."""
BATCH = 4_096
"""Rows a batch when reading."""


@dataclass(frozen=True, slots=True)
class Row:
    """A record with the content id of its source."""

    id: str
    record: Record


def _element_type(type: pa.DataType) -> pa.Field:
    return pa.field("element", type, nullable=False)  # the name that the parquet format gives to elements of lists


WORD = pa.struct(
    [
        pa.field("start", pa.float64(), nullable=False),
        pa.field("stop", pa.float64(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("speaker", pa.string()),
    ]
)
"""Type of a word of a text; times are seconds of the source."""


def part_schema(spec: Spec, metadata: Mapping[str, str] | None = None) -> pa.Schema:
    """Return the columns of a part. The metadata has its provenance, under keys that begin with `percepts.`.

    `start` and `stop` are seconds. Vectors are float32 of length `spec.dim`, null where a record has none. A table
    whose `dim` is 0 has no column of vectors.
    """
    columns = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("start", pa.float64(), nullable=False),
        pa.field("stop", pa.float64(), nullable=False),
        *([pa.field("vector", pa.list_(_element_type(pa.float32()), spec.dim))] if spec.dim else []),
        pa.field("labels", pa.list_(_element_type(pa.string())), nullable=False),
        pa.field("text", pa.string()),
        pa.field("scores", pa.list_(_element_type(pa.float64())), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("speaker", pa.string()),
        pa.field("words", pa.list_(_element_type(WORD)), nullable=False),
        pa.field("windows", pa.int32(), nullable=False),
        pa.field("box", pa.list_(_element_type(pa.float64()))),
    ]
    return pa.schema(columns, metadata=_provenance(spec) | dict(metadata or {}))


_COLUMNS = {
    "id": pa.string(),
    "source": pa.string(),
    "kind": pa.string(),
    "start": pa.float64(),
    "stop": pa.float64(),
    "labels": pa.list_(_element_type(pa.string())),
    "text": pa.string(),
}
"""Columns of data parts that every release wrote."""


def build_table(rows: Sequence[Row], spec: Spec, metadata: Mapping[str, str] | None = None) -> pa.Table:
    """Build a table of `part_schema` from rows. ValueError for a vector of another length or with NaN or infinity."""
    records = [row.record for row in rows]
    columns = {
        "id": [row.id for row in rows],
        "source": [r.source for r in records],
        "kind": [r.kind for r in records],
        "start": [r.start for r in records],
        "stop": [r.stop for r in records],
        **({"vector": _vectors_column(records, spec.dim)} if spec.dim else {}),
        "labels": [list(r.labels) for r in records],
        "text": [r.text for r in records],
        "scores": [list(r.scores) for r in records],
        "score": [r.score for r in records],
        "speaker": [r.speaker for r in records],
        "words": [[_parse_word(word) for word in r.words] for r in records],
        "windows": [r.windows for r in records],
        "box": [r.box for r in records],
    }
    return pa.table(columns, schema=part_schema(spec, metadata))


def write_part(
    path: Path, rows: Sequence[Row], spec: Spec, metadata: Mapping[str, str] | None = None, *, root: Path | None = None
) -> PartInfo:
    """Write rows as one part, atomically. The same rows give the same bytes.

    Args:
        path: path of the part. An old file of that name is replaced at the end.
        rows: rows, all of one model.
        spec: spec of the encoder that made them.
        metadata: further provenance, strings by name.
        root: the job directory, to which `PartInfo.name` is relative. None: the folder of `path`.
    """
    return write_table(path, build_table(rows, spec, metadata), root=root)


def write_table(path: Path, table: pa.Table, *, root: Path | None = None) -> PartInfo:
    """Write a table as a parquet file, atomically, and return its name, size and digest. Ledgers use this too."""
    # In memory first, so that the digest is that of the data and not of what the disk made of it.
    sink = pa.BufferOutputStream()
    repeated = [name for name in table.column_names if name != "vector"]  # values of vectors seldom repeat
    pq.write_table(
        table, sink, compression="zstd", use_dictionary=repeated, row_group_size=ROW_GROUP, write_page_checksum=True
    )
    data = memoryview(sink.getvalue())
    with atomic_file(path) as file:
        file.write(data)
    name = path.relative_to(root or path.parent).as_posix()
    return PartInfo(name, table.num_rows, data.nbytes, hashlib.sha256(data).hexdigest())


def list_parts(directory: str | Path) -> dict[str, list[PartInfo]]:
    """Return the data parts that the manifest lists, by model, in order."""
    manifest = read_manifest(directory)
    infos: dict[str, list[PartInfo]] = {name: [] for name in manifest.specs}
    for part in manifest.parts:
        for model, info in part.data.items():
            infos[model].append(info)
    return infos


def committed_files(directory: str | Path) -> dict[str, list[Path]]:
    """Return the paths of the committed data parts, by model."""
    return {model: [Path(directory) / info.name for info in infos] for model, infos in list_parts(directory).items()}


def read_specs(directory: str | Path) -> dict[str, Spec]:
    """Return the specs in the manifest by name, in the order in which the models were named."""
    return read_manifest(directory).specs


def read_part(path: Path, columns: Sequence[str] | None = None, *, batch: int = BATCH) -> Iterator[pa.RecordBatch]:
    """Read the rows of one part in order, `batch` at a time, and verify the checksum of every page.

    Raises:
        JobDamaged: the file is absent, is not parquet, or has been changed.
    """
    if path.exists() and not path.is_file():  # opening a named pipe would wait forever
        raise JobDamaged(f"{path}: is not a regular file; `percepts verify` says what else is wrong")
    try:
        # opened here, because pyarrow takes some paths for URLs
        # pyarrow ignores the checksums of pages unless it is asked
        with pa.OSFile(str(path)) as opened, pq.ParquetFile(opened, page_checksum_verification=True) as file:
            _check_schema(file.schema_arrow, columns or ())
            rows = 0
            for each in file.iter_batches(batch, columns=None if columns is None else list(columns)):
                rows += len(each)
                _check_nulls(each)
                yield each
            _check_rows(file.metadata, rows)
    except (OSError, ValueError, pa.ArrowException) as error:  # Arrow raises all three for damaged files
        # Arrow's messages may have line breaks
        why = " ".join(str(error).split()).rstrip(".")
        raise JobDamaged(
            f"{path}: cannot be read: {why}; `percepts verify {_job_directory(path)} --repair` does again what is "
            "damaged"
        ) from error


def _check_schema(schema: pa.Schema, columns: Sequence[str]) -> None:
    """Raise ValueError where a column that every release wrote is absent or of another type."""
    # the checksums of pages do not cover the schema
    if "source" not in schema.names and "uri" in schema.names:
        return  # a ledger
    if "vector" in columns and "vector" not in schema.names:
        raise ValueError("it has no column 'vector'")
    for name, type in _COLUMNS.items():
        if name not in schema.names or schema.field(name).type != type:
            actual = schema.field(name).type if name in schema.names else "none"
            raise ValueError(f"expected a column {name!r} of type {type}, found {actual}")


def _check_nulls(batch: pa.RecordBatch) -> None:
    """Raise ValueError where a column that must be full has empty cells."""
    for name in ("id", "source", "kind", "start", "stop"):
        if name in batch.schema.names and batch.column(name).null_count:
            raise ValueError(f"the column {name!r} has empty cells")


def _check_rows(metadata: pq.FileMetaData, rows: int) -> None:
    """Raise ValueError where the numbers of rows in the footer contradict each other or the rows that were read."""
    groups = sum(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
    if not metadata.num_rows == groups == rows:
        raise ValueError(f"its footer lists {metadata.num_rows} rows and {groups} in groups, {rows} were read")


def _job_directory(path: Path) -> Path:
    """Return the job directory of a part, judged by its path alone."""
    folder = path.parent
    return next((above.parent for above in (folder, *folder.parents) if above.name in OURS), folder)


def read_parts(
    directory: str | Path, model: str, columns: Sequence[str] | None = None, *, batch: int = BATCH
) -> Iterator[pa.RecordBatch]:
    """Yield all committed rows of one model in order, in batches that do not cross parts."""
    files = committed_files(directory)
    if model not in files:
        raise JobError(f"{directory}: no vectors of {model!r}; there are: {', '.join(files) or 'none'}")
    for path in files[model]:
        yield from read_part(path, columns, batch=batch)


def batch_vectors(batch: pa.RecordBatch) -> np.ndarray:
    """Return the vectors of a batch, (B, D) float32, zeros where there is none; a view where Arrow allows it."""
    column = batch.column("vector")
    if column.null_count:
        # filled, because flatten leaves out the values of null rows
        column = column.fill_null(pa.scalar([0.0] * column.type.list_size, column.type))
    return np.asarray(column.flatten()).reshape(len(column), column.type.list_size)


def batch_records(batch: pa.RecordBatch, model: str) -> list[Record]:
    """Return the rows of a batch as records. Columns that were not read keep their defaults; the id is dropped."""
    names = {field.name for field in fields(Record)} - {"vector"}
    columns = {name: batch.column(name).to_pylist() for name in batch.schema.names if name in names}
    for name, each in (("labels", tuple), ("scores", tuple), ("words", _words_column), ("box", tuple)):
        if name in columns:
            columns[name] = [None if value is None else each(value) for value in columns[name]]
    if "vector" in batch.schema.names:
        there = batch.column("vector").is_valid().to_pylist()
        # copied, because views of Arrow's memory are read-only
        columns["vector"] = [v if ok else None for v, ok in zip(np.array(batch_vectors(batch)), there, strict=True)]
    return [Record(model=model, **dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _parse_word(word: Segment) -> dict[str, Any]:
    return {name: getattr(word, name) for name in WORD.names}


def _words_column(rows: Iterable[Mapping[str, Any]]) -> tuple[Segment, ...]:
    return tuple(Segment(**row) for row in rows)


def _vectors_column(records: Iterable[Record], dim: int) -> pa.FixedSizeListArray:
    vectors = [record.vector for record in records]
    values = np.zeros((len(vectors), dim), np.float32)  # a null row has values too, in a list of fixed size
    for record, vector, row in zip(records, vectors, values, strict=True):
        if vector is None:
            continue
        if vector.shape != (dim,) or not np.isfinite(vector).all():
            raise ValueError(
                f"{record.source} at {record.start} s: expected {dim} finite numbers, "
                f"got {vector.dtype}{list(vector.shape)}, {np.isfinite(vector).sum()} of them finite"
            )
        row[:] = vector
    absent = pa.array([vector is None for vector in vectors], pa.bool_())
    shape = pa.list_(_element_type(pa.float32()), dim)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=shape, mask=absent)


def _provenance(spec: Spec) -> dict[str, str]:
    return {
        "percepts.version": _package_version(),
        "percepts.model": spec.name,
        "percepts.spec": json.dumps(asdict(spec), sort_keys=True),  # sorted: the same rows give the same bytes
    }


def _package_version() -> str:
    try:
        return version("percepts")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"
