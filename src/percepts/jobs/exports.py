"""The committed tables in, the layouts of other tools out; each is made anew when the tables have changed."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..stores.manifest import PartInfo
from ..stores.parquet import parts, read_part, read_parts, specs, vectors
from ..support.files import SUFFIX, atomic, safe_name
from .containers import split

STATE = "parts.json"
"""In each export: the parts it was made from, so that it is made once."""


def clip_retrieval(directory: Path) -> None:
    """`clip-retrieval/MODEL/img_emb/img_emb_0.npy` and `metadata/metadata_0.parquet`, a pair for each part.

    Row i of one is row i of the other, as clip-retrieval's index and back end, autofaiss and embedding-reader expect.
    """
    for model, infos in _of_vectors(directory):
        with _anew(directory / "clip-retrieval" / safe_name(model), infos) as folder:
            for number, info in enumerate(infos if folder else ()):
                table = pa.Table.from_batches(list(read_part(directory / info.name)))
                with atomic(_under(folder, "img_emb") / f"img_emb_{number}.npy") as file:
                    np.save(file, np.concatenate([vectors(batch) for batch in table.to_batches()]))
                facts = table.select(["source", "start", "stop", "kind", "text", "id"])
                named = facts.rename_columns(["image_path", "start", "stop", "kind", "caption", "id"])
                pq.write_table(named, _under(folder, "metadata") / f"metadata_{number}.parquet")


def webdataset(directory: Path) -> None:
    """`webdataset/MODEL/NAME.tar` for every tar among the inputs, with `KEY.npy` for each of its samples.

    A sample's array is (D,) for a picture, (T, D) for what has windows; a sample that failed is not there, so readers
    join by key.
    """
    for model, infos in _of_vectors(directory):
        with _anew(directory / "webdataset" / safe_name(model), infos) as folder:
            for tar, samples in _samples(directory, model).items() if folder else ():
                with tarfile.open(_under(folder, ".") / PurePath(tar).name, "w") as file:
                    for key, rows in samples.items():
                        _add(file, f"{key}.npy", np.stack(rows) if len(rows) > 1 else rows[0])


def lance(directory: Path) -> None:
    """`lance/MODEL.lance`: every row of the table with all its columns, for LanceDB and whatever else reads Lance."""
    import lancedb

    for model, infos in _of_vectors(directory):
        with _anew(directory / "lance" / safe_name(model), infos) as folder:
            if folder and infos:
                first = next(read_parts(directory, model))
                reader = pa.RecordBatchReader.from_batches(first.schema, read_parts(directory, model))
                lancedb.connect(folder).create_table(safe_name(model), reader)


EXPORTS: Mapping[str, Callable[[Path], None]] = {
    "clip-retrieval": clip_retrieval,
    "webdataset": webdataset,
    "lance": lance,
}


def _of_vectors(directory: Path) -> Iterator[tuple[str, list[PartInfo]]]:
    found = parts(directory)
    return ((name, found[name]) for name, spec in specs(directory).items() if spec.dim)


@contextmanager
def _anew(folder: Path, infos: list[PartInfo]) -> Iterator[Path | None]:
    """A folder to fill, which takes the place of the old one at the end; None where that was made from these parts."""
    state = json.dumps([info.sha256 for info in infos])
    if (folder / STATE).exists() and (folder / STATE).read_text() == state:
        yield None
        return
    fresh = folder.with_name(folder.name + SUFFIX)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    yield fresh
    (fresh / STATE).write_text(state)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(fresh, folder)


def _under(folder: Path | None, name: str) -> Path:
    assert folder is not None
    (folder / name).mkdir(exist_ok=True)
    return folder / name


def _samples(directory: Path, model: str) -> dict[str, dict[str, list[np.ndarray]]]:
    """Tar → key → its rows in order of time."""
    found: dict[str, dict[str, list[tuple[float, np.ndarray]]]] = {}
    for batch in read_parts(directory, model, ["source", "start", "vector"]):
        sources, starts = batch.column("source").to_pylist(), batch.column("start").to_pylist()
        for source, start, vector in zip(sources, starts, np.array(vectors(batch)), strict=True):
            member = split(source)
            if member and member[0].lower().endswith(".tar"):
                found.setdefault(member[0], {}).setdefault(_key(member[1]), []).append((start, vector))
    return {
        tar: {key: [v for _, v in sorted(rows, key=lambda row: row[0])] for key, rows in samples.items()}
        for tar, samples in found.items()
    }


def _key(name: str) -> str:
    """As webdataset has it: up to the first dot of the last part of the path."""
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}{base.partition('.')[0]}"


def _add(file: tarfile.TarFile, name: str, array: np.ndarray) -> None:
    data = io.BytesIO()
    np.save(data, array)
    info = tarfile.TarInfo(name)
    info.size = data.tell()
    data.seek(0)
    file.addfile(info, data)
