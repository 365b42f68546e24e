"""Export the committed tables in the layouts of other tools, each again whenever the tables have changed."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePath
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...stores.manifest import PartInfo
from ...stores.parquet import batch_vectors, list_parts, read_part, read_parts, read_specs
from ...support.files import is_file, safe_name, write_file
from ..sources.containers import split_member
from .format_files import FormatFiles

Write = Callable[[str], AbstractContextManager[IO[bytes]]]
STATE = "parts.json"
"""In each export: the digests of the parts it was made from, so that it is not made twice."""


def clip_retrieval(files: FormatFiles, directory: Path) -> None:
    """Write `clip-retrieval/MODEL/img_emb/img_emb_0.npy` and `metadata/metadata_0.parquet`, a pair for each part.

    Row i of one belongs to row i of the other, as clip-retrieval, autofaiss and embedding-reader expect.
    """
    for model, infos in _vector_tables(directory):
        with _rebuild_if_stale(files, directory, f"clip-retrieval/{safe_name(model)}", infos) as write:
            for number, info in enumerate(infos if write else ()):
                assert write is not None
                table = pa.Table.from_batches(list(read_part(directory / info.name)))
                with write(f"img_emb/img_emb_{number}.npy") as file:
                    np.save(file, np.concatenate([batch_vectors(batch) for batch in table.to_batches()]))
                facts = table.select(["source", "start", "stop", "kind", "text", "id"])
                named = facts.rename_columns(["image_path", "start", "stop", "kind", "caption", "id"])
                with write(f"metadata/metadata_{number}.parquet") as file:
                    pq.write_table(named, file)


def export_webdataset(files: FormatFiles, directory: Path) -> None:
    """Write `webdataset/MODEL/NAME.tar` for every tar among the inputs, with `KEY.npy` for each of its samples.

    A sample's array is (D,) for an image, (T, D) for a source with windows. A sample that failed is absent, so readers
    must join by key.
    """
    for model, infos in _vector_tables(directory):
        with _rebuild_if_stale(files, directory, f"webdataset/{safe_name(model)}", infos) as write:
            for tar, samples in _group_samples(directory, model).items() if write else ():
                assert write is not None
                with write(PurePath(tar).name) as opened, tarfile.open(fileobj=opened, mode="w") as file:
                    for key, rows in samples.items():
                        _add_member(file, f"{key}.npy", np.stack(rows) if len(rows) > 1 else rows[0])


def export_lance(files: FormatFiles, directory: Path) -> None:
    """Write `lance/MODEL.lance`: every row of the table with all columns, for LanceDB and other readers of Lance."""
    # Imported here, since it takes seconds and only this export needs it.
    import lancedb

    for model, infos in _vector_tables(directory):
        name = f"lance/{safe_name(model)}"
        if _is_current(directory, name, infos):
            continue
        with files.begin_folder(name) as folder:
            if folder and infos:
                first = next(read_parts(directory, model))
                reader = pa.RecordBatchReader.from_batches(first.schema, read_parts(directory, model))
                lancedb.connect(folder).create_table(safe_name(model), reader)
            if folder:
                write_file(folder / STATE, _describe_state(infos))


EXPORTS: Mapping[str, Callable[[FormatFiles, Path], None]] = {
    "clip-retrieval": clip_retrieval,
    "webdataset": export_webdataset,
    "lance": export_lance,
}


def _vector_tables(directory: Path) -> Iterator[tuple[str, list[PartInfo]]]:
    found = list_parts(directory)
    return ((name, found[name]) for name, spec in read_specs(directory).items() if spec.dim)


@contextmanager
def _rebuild_if_stale(
    files: FormatFiles, directory: Path, folder: str, infos: list[PartInfo]
) -> Iterator[Write | None]:
    """Yield a function that opens the files of a folder for writing; together they replace the old ones at the end.

    Yield None if the old files were made from these parts.
    """
    if _is_current(directory, folder, infos):
        yield None
        return
    with files.begin_group() as group:
        yield lambda name: group.write(f"{folder}/{name}")
        files.remove(f"{folder}/{STATE}")  # without it, a kill from here on has the next run export again
        # Files that the new export does not have, as of a model or part that is gone.
        for name in set(files.names(folder)) - {name for _, name in group.drafts}:
            files.remove(name)
        group.close(f"{folder}/{STATE}", _describe_state(infos).encode())


def _is_current(directory: Path, folder: str, infos: list[PartInfo]) -> bool:
    path = directory / folder / STATE
    return is_file(path) and path.read_bytes() == _describe_state(infos).encode()


def _describe_state(infos: list[PartInfo]) -> str:
    return json.dumps([info.sha256 for info in infos])


def _group_samples(directory: Path, model: str) -> dict[str, dict[str, list[np.ndarray]]]:
    """Return the rows by tar and key, in order of time."""
    found: dict[str, dict[str, list[tuple[float, np.ndarray]]]] = {}
    for batch in read_parts(directory, model, ["source", "start", "vector"]):
        sources, starts = batch.column("source").to_pylist(), batch.column("start").to_pylist()
        for source, start, vector in zip(sources, starts, np.array(batch_vectors(batch)), strict=True):
            # Only sources out of a tar have a sample to belong to.
            member = split_member(source)
            if member and member[0].lower().endswith(".tar"):
                found.setdefault(member[0], {}).setdefault(_sample_key(member[1]), []).append((start, vector))
    return {
        tar: {key: [v for _, v in sorted(rows, key=lambda row: row[0])] for key, rows in samples.items()}
        for tar, samples in found.items()
    }


def _sample_key(name: str) -> str:
    """Return the key of a member as webdataset defines it: its path up to the first dot of the file name.

    A name that leads out of the folder in which a user unpacks the tar, or that is not printable, is replaced.
    """
    folder, slash, base = name.rpartition("/")
    key = f"{folder}{slash}{base.partition('.')[0]}"
    strange = {"", ".", ".."} & set(key.split("/")) or "\\" in key or not key.isprintable()
    return safe_name(key) if strange else key


def _add_member(file: tarfile.TarFile, name: str, array: np.ndarray) -> None:
    data = io.BytesIO()
    np.save(data, array)
    info = tarfile.TarInfo(name)
    info.size = data.tell()
    data.seek(0)
    file.addfile(info, data)
