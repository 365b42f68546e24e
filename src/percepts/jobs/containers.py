"""Files that hold many sources: tars, and tables with media in their cells. `shard.tar!cats/1.jpg` names one of them.

Nothing is decoded here, so a bad member costs only itself: a Hugging Face dataset is read as the Arrow or Parquet
files that it is, and not through a library that decodes while it iterates.
"""

from __future__ import annotations

import csv
import json
import os
import tarfile
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from mimetypes import guess_type
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import NotMedia

MARK = "!"


class Container(Protocol):
    """A file or folder with members."""

    def names(self) -> Iterator[str]:
        """Of those that may be media, in order."""

    def read(self, name: str) -> bytes:
        """The bytes of one; KeyError where there is none of that name."""


def holds_sources(path: str) -> bool:
    """Whether it is one of these, by its name; or, for a folder, a dataset that was saved to disk."""
    return path.lower().endswith(tuple(_KINDS)) or os.path.isfile(os.path.join(path, _STATE))


def members(path: str) -> Iterator[str]:
    """The names of all sources in it."""
    for name in _opened(path, _mtime(path)).names():
        yield f"{path}{MARK}{name}"


def split(uri: str) -> tuple[str, str] | None:
    """Container and member of a name that `members` gave; None for any other name."""
    if MARK not in uri or os.path.lexists(uri):
        return None
    path, _, name = uri.partition(MARK)
    while name and not holds_sources(path):
        head, _, name = name.partition(MARK)
        path = f"{path}{MARK}{head}"
    return (path, name) if name else None


def read(uri: str) -> tuple[bytes, int]:
    """The bytes of a member, and the time of its container; FileNotFoundError where it is not there."""
    found = split(uri)
    if found is None:
        raise FileNotFoundError(f"no such file: {uri}")
    path, name = found
    when = _mtime(path)
    opened = _opened(path, when)
    try:
        with reading(uri):
            return opened.read(name), when
    except KeyError as error:
        raise FileNotFoundError(f"no such member: {name} in {path}") from error


def stamp(uri: str) -> int | None:
    """The time of the container of a member; None where it is no member, or is gone."""
    found = split(uri)
    return _mtime(found[0]) if found and os.path.exists(found[0]) else None


@lru_cache(maxsize=2)
def _opened(path: str, mtime_ns: int) -> Container:
    kind = next((suffix for suffix in _KINDS if path.lower().endswith(suffix)), None)
    with reading(path):
        return _KINDS[kind](path) if kind else _Arrow(path)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """What any of these libraries raises of a file that is damaged becomes NotMedia; the system's errors stay."""
    try:
        yield
    except NotMedia:
        raise
    except (tarfile.TarError, csv.Error, pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise NotMedia(f"{name}: cannot be read: {error}") from error


def _mtime(path: str) -> int:
    """Of a folder, that of the newest file in it."""
    if os.path.isdir(path):
        return max(entry.stat().st_mtime_ns for entry in os.scandir(path))
    return os.stat(path).st_mtime_ns


class _Tar:
    """Members of a tar that are media by their names: labels and captions beside them are not ours."""

    def __init__(self, path: str):
        self._path = path
        with tarfile.open(path, "r:") as file:
            self._index = {member.name: (member.offset_data, member.size) for member in file if member.isreg()}

    def names(self) -> Iterator[str]:
        return (name for name in self._index if (guess_type(name)[0] or "").split("/")[0] in _MEDIA)

    def read(self, name: str) -> bytes:
        start, size = self._index[name]
        with open(self._path, "rb") as file:
            file.seek(start)
            return file.read(size)


_MEDIA = frozenset({"image", "audio", "video"})


class _Cells(ABC):
    """`COLUMN/ROW` of a table, for every column of bytes, or of bytes and path as Hugging Face writes them."""

    def __init__(self, schema: pa.Schema, counts: list[int]):
        self._columns = [field.name for field in schema if _is_bytes(field.type)]
        self._ends = list(accumulate(counts))

    @abstractmethod
    def group(self, number: int) -> pa.Table:
        """So many rows at a time."""

    def names(self) -> Iterator[str]:
        rows = self._ends[-1] if self._ends else 0
        return (f"{column}/{row}" for row in range(rows) for column in self._columns)

    def read(self, name: str) -> bytes:
        column, _, text = name.rpartition("/")
        if column not in self._columns or not text.isdecimal() or int(text) >= self._ends[-1]:
            raise KeyError(name)
        number = bisect_right(self._ends, int(text))
        first = self._ends[number - 1] if number else 0
        return _bytes_of(self.group(number).column(column)[int(text) - first].as_py(), name)


class _Parquet(_Cells):
    def __init__(self, path: str):
        self._file = pq.ParquetFile(path, memory_map=True)
        facts = self._file.metadata
        super().__init__(self._file.schema_arrow, [facts.row_group(i).num_rows for i in range(facts.num_row_groups)])
        self._read: tuple[int, pa.Table] | None = None

    def group(self, number: int) -> pa.Table:
        if self._read is None or self._read[0] != number:
            self._read = number, self._file.read_row_group(number, columns=self._columns)
        return self._read[1]


class _Arrow(_Cells):
    """A folder of `datasets.Dataset.save_to_disk`: its Arrow files are mapped, not read."""

    def __init__(self, path: str):
        files = [Path(path) / entry["filename"] for entry in json.loads(Path(path, _STATE).read_text())["_data_files"]]
        self._tables = [pa.ipc.open_stream(pa.memory_map(str(file))).read_all() for file in files]
        schema = self._tables[0].schema if self._tables else pa.schema([])
        super().__init__(schema, [len(table) for table in self._tables])

    def group(self, number: int) -> pa.Table:
        return self._tables[number]


_STATE = "state.json"
_KINDS: Mapping[str, Callable[[str], Container]] = {".tar": _Tar, ".parquet": _Parquet}


def _is_bytes(type: pa.DataType) -> bool:
    if pa.types.is_struct(type):
        return bool(type.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(type) or pa.types.is_large_binary(type))


def _bytes_of(cell: Any, name: str) -> bytes:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if data is None and isinstance(cell, dict) and cell.get("path"):
        return Path(cell["path"]).read_bytes()
    if data is None:
        raise NotMedia(f"{name}: an empty cell")
    return bytes(data)
