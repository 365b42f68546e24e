"""Expand what a user may name into sources: patterns, lists, tars and tables, folders of an object store."""

from __future__ import annotations

import csv
import glob
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import FetchError, NotMedia
from ...stores.remote import is_remote, open_filesystem
from . import containers

COLUMNS = ("uri", "path", "url")
"""Columns that may name the sources of a list, the first one wins; a relative path begins at the list's folder."""


def is_glob(text: str) -> bool:
    """Return whether a text is a pattern and not the name of an existing file."""
    return glob.has_magic(text) and not os.path.lexists(text)


def expand_input(item: str, *, stores: bool = True) -> Iterator[str] | None:
    """Return the sources of an item that stands for many; None for a file, a folder, or a single source.

    With `stores` off, no object store is asked: the URL of one is a single source.
    """
    if is_remote(item):
        return _read_list(item) if stores else None
    if is_glob(item):
        # A pattern without a match stays as it is, and becomes an entry that says so.
        return iter(sorted(glob.iglob(item, recursive=True)) or [item])
    path = os.path.abspath(item)
    if not os.path.isfile(path) and not os.path.isdir(path):  # also a pipe, on which reading would block
        return None
    reader = next((read for suffix, read in _LISTS.items() if path.lower().endswith(suffix)), None)
    if reader and os.path.isfile(path) and (names := reader(path)) is not None:
        return _resolve_names(path, names)
    return containers.list_members(path) if containers.holds_sources(path) else None


@dataclass(frozen=True, slots=True)
class NamedPlaces:
    """The places that the user named, and to which lists and tables may therefore lead.

    folders   among the inputs: a cell of a table may name a file in them
    stores    URLs of object stores and of folders in them: a list may name what is below them
    """

    folders: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()

    def check(self, uri: str) -> None:
        """Raise FetchError if the user did not name the store of a source, since a list may come from anywhere."""
        below = any(uri == root or uri.startswith(f"{root.rstrip('/')}/") for root in self.stores)
        if not below or ".." in uri.split("/"):
            raise FetchError(
                f"{uri}: a list alone opens no object store, since it would be read with your credentials; allow its "
                "root with --host s3://BUCKET/FOLDER (hosts=[...]), or name that among the inputs"
            )


def find_named_places(inputs: Iterable[str], hosts: Iterable[str]) -> NamedPlaces:
    """Find the folders and stores among the inputs and the hosts that the user named."""
    inputs = list(inputs)
    folders = tuple(os.path.abspath(item) for item in inputs if not is_remote(item) and os.path.isdir(item))
    stores: set[str] = set()
    for item in (*inputs, *hosts):
        if is_remote(item):
            root = re.split(r"[*?\[]", item)[0].rpartition("/")[0] if glob.has_magic(item) else item
            system, path = open_filesystem(root)
            stores |= {root, str(system.unstrip_protocol(path))}  # the listing of az:// calls it abfs://
    return NamedPlaces(folders, tuple(sorted(stores)))


def read_remote(uri: str) -> bytes:
    """Return all bytes of a source in an object store."""
    system, path = open_filesystem(uri)
    return bytes(system.cat_file(path))


def _read_list(item: str) -> Iterator[str]:
    system, path = open_filesystem(item)
    found = system.glob(path) if glob.has_magic(path) else system.find(path)
    # If nothing is below it, the name may be an object itself; reading it tells.
    return (system.unstrip_protocol(name) for name in sorted(found) or [path])


def _resolve_names(path: str, names: Iterator[str]) -> Iterator[str]:
    folder = os.path.dirname(path)
    with containers.not_media_errors(path):
        for name in names:
            yield name if "://" in name else os.path.join(folder, name)


# Lists


def _read_csv(path: str, delimiter: str = ",") -> Iterator[str]:
    # Spreadsheets write a byte order mark at the start.
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, delimiter=delimiter)
        column = _find_column(rows.fieldnames or (), path)
        yield from (row[column] for row in rows if row[column])


def _read_tsv(path: str) -> Iterator[str]:
    return _read_csv(path, "\t")


def _read_jsonl(path: str) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            # A hostile line may be nested deeper than Python's stack.
            except (ValueError, RecursionError) as error:
                raise NotMedia(f"{path}: line {number} is no JSON: {error}") from error
            if not isinstance(row, dict):
                raise NotMedia(f"{path}: line {number}: expected an object")
            yield str(row[_find_column(row, f"{path}: line {number}")])


def _read_parquet(path: str) -> Iterator[str] | None:
    """Yield the names in a table; return None if it has no column of names, since it is then a container."""
    with containers.not_media_errors(path), pq.ParquetFile(path) as file:
        names = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
    return _read_cells(path, _find_column(names, path)) if set(names) & set(COLUMNS) else None


def _read_cells(path: str, column: str) -> Iterator[str]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=[column]):
            yield from (name for name in batch.column(0).to_pylist() if name)


def _find_column(names: Any, where: str) -> str:
    for name in COLUMNS:
        if name in names:
            return name
    raise NotMedia(f"{where}: expected a column {' or '.join(COLUMNS)}, got {', '.join(names) or 'none'}")


_LISTS: Mapping[str, Callable[[str], Iterator[str] | None]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
