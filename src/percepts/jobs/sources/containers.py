"""Read containers of many sources: tars, and tables with media in their cells. `shard.tar!cats/1.jpg` names a member.

Nothing is decoded here, so a bad member costs only itself: a Hugging Face dataset is read as the Arrow or Parquet
files that it consists of, and not through a library that decodes while it iterates.
"""

from __future__ import annotations

import csv
import json
import os
import tarfile
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from mimetypes import guess_type
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import NotMedia
from ...media.source import open_source

MARK = "!"


class Container(Protocol):
    """A file or folder that holds many sources."""

    def names(self) -> Iterator[str]:
        """Yield the names of the members that may be media, in order."""

    def read(self, name: str, folders: Sequence[str]) -> bytes:
        """Return the bytes of a member; raise KeyError if there is none of that name.

        A cell of a table may name a file in one of `folders`, which the user named, or in the folder of the table.
        """

    @property
    def wrong(self) -> str:
        """What is damaged, so that members may be missing from `names`; "" if nothing is."""


def holds_sources(path: str) -> bool:
    """Return whether a path is a container, by its name, or a folder with a dataset that was saved to disk."""
    if path.lower().endswith(tuple(_KINDS)) and not os.path.isdir(path):
        return True
    if not os.path.isfile(os.path.join(path, _STATE)):
        return False
    try:
        return any(name == "dataset_info.json" or name.endswith(".arrow") for name in os.listdir(path))
    except OSError:
        return False


def list_members(path: str) -> Iterator[str]:
    """Yield the names of all sources in a container; at the end, raise NotMedia if damage may have hidden some."""
    opened = _open_container(path, _newest_mtime(path))
    for name in opened.names():
        yield f"{path}{MARK}{name}"
    if opened.wrong:
        raise NotMedia(f"{path}: {opened.wrong}")


def split_member(uri: str) -> tuple[str, str] | None:
    """Split a name that `list_members` gave into container and member; return None for any other name.

    The member is a name in the container, whatever it looks like: it is never looked up on the disk. Only if there is
    no such container may the name be that of a file.
    """
    if MARK not in uri:
        return None
    path, _, name = uri.partition(MARK)
    # The path of the container may contain the mark, too.
    while name and not holds_sources(path):
        head, _, name = name.partition(MARK)
        path = f"{path}{MARK}{head}"
    if not name or (os.path.lexists(uri) and not os.path.lexists(path)):
        return None
    return path, name


def absolute_name(name: str) -> str:
    """Return the absolute path of a file, or of the container of a member, whose own name stays as it is."""
    found = split_member(name)
    return f"{os.path.abspath(found[0])}{MARK}{found[1]}" if found else os.path.abspath(name)


def read_member(uri: str, folders: Sequence[str] = ()) -> tuple[bytes, int]:
    """Return the bytes of a member and the mtime of its container in ns; raise FileNotFoundError if it is absent.

    `folders` are those that the user named, see `Container.read`.
    """
    found = split_member(uri)
    if found is None:
        raise FileNotFoundError(f"no such file: {uri}")
    path, name = found
    when = _newest_mtime(path)
    opened = _open_container(path, when)
    try:
        with not_media_errors(uri):
            return opened.read(name, folders), when
    except KeyError as error:
        raise FileNotFoundError(f"no such member: {name} in {path}") from error


def container_mtime(uri: str) -> int | None:
    """Return the mtime in ns of the container of a member; None if it is no member, or the container is gone."""
    found = split_member(uri)
    return _newest_mtime(found[0]) if found and os.path.exists(found[0]) else None


@lru_cache(maxsize=2)
def _open_container(path: str, mtime_ns: int) -> Container:
    kind = None if os.path.isdir(path) else next((each for each in _KINDS if path.lower().endswith(each)), None)
    with not_media_errors(path):
        return _KINDS[kind](path) if kind else _ArrowContainer(path)


@contextmanager
def not_media_errors(name: str) -> Iterator[None]:
    """Turn the errors of these libraries about a damaged file into NotMedia, and keep errors of the system."""
    try:
        yield
    except NotMedia:
        raise
    except (tarfile.TarError, csv.Error, pa.ArrowException, ValueError, OSError) as error:
        # An error with a number comes from the system: no such file, no permission, a bad disk.
        if isinstance(error, OSError) and error.errno:
            raise
        raise NotMedia(f"{name}: cannot be read: {error}") from error


def _newest_mtime(path: str) -> int:
    """Return the mtime of a file in ns; for a folder, that of the newest file in it."""
    if os.path.isdir(path):
        return max((entry.stat().st_mtime_ns for entry in os.scandir(path)), default=-1)
    return os.stat(path).st_mtime_ns


class _TarContainer:
    """The members of a tar that are media by their names, without the labels and captions beside them.

    A tar that is cut or damaged has the members before the damage.
    """

    def __init__(self, path: str):
        self._path = path
        self._index: dict[str, tuple[int, int]] = {}
        self.wrong = ""
        twice: list[str] = []
        try:
            for name, place in _tar_members(path):
                if name in self._index and _is_media(name):
                    twice.append(name)
                self._index[name] = place
        except OSError as error:
            if error.errno and not self._index:  # the file is absent, or may not be read
                raise
            self.wrong = f"cannot be read: {error}"
        except Exception as error:  # whatever a hostile header makes tarfile raise
            self.wrong = f"cannot be read: {error or type(error).__name__}"
        if twice and not self.wrong:
            named = ", ".join(ascii(name)[1:-1] for name in twice[:3]) + (" …" if len(twice) > 3 else "")
            self.wrong = f"{len(twice)} members have the name of a later one, which alone is read: {named}"

    def names(self) -> Iterator[str]:
        return (name for name in self._index if _is_media(name))

    def read(self, name: str, folders: Sequence[str]) -> bytes:
        start, size = self._index[name]
        with open(self._path, "rb") as file:
            file.seek(start)
            return file.read(size)


def _tar_members(path: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield name, offset and size of every complete regular file in a tar; raise NotMedia where damage begins."""
    size, last = os.stat(path).st_size, -1
    with tarfile.open(path, "r:") as file:
        for member in file:
            # A hostile header may point back, and tarfile would read the same members for ever.
            if member.offset <= last or member.size < 0:
                raise NotMedia(f"a header that leads back, at byte {member.offset}")
            last = member.offset
            if member.isreg():
                if member.offset_data + member.size > size:
                    raise NotMedia(f"it ends within the member {member.name!a}")
                if member.name:
                    yield member.name, (member.offset_data, member.size)
        end = file.offset
    with open(path, "rb") as raw:  # tarfile takes a damaged header for the end of the archive
        raw.seek(end)
        if raw.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise NotMedia(f"no header where the next should be, at byte {end}")


def _is_media(name: str) -> bool:
    return (guess_type(name)[0] or "").split("/")[0] in _MEDIA


_MEDIA = frozenset({"image", "audio", "video"})


class _TableContainer(ABC):
    """A table with members `COLUMN/ROW`, for columns of bytes, or of bytes and path as Hugging Face writes them."""

    wrong = ""

    def __init__(self, schema: pa.Schema, counts: list[int], folder: str):
        self._folder = folder
        self._columns = [field.name for field in schema if _is_bytes(field.type)]
        self._ends = list(accumulate(counts))

    @abstractmethod
    def group(self, number: int) -> pa.Table:
        """Return the rows of one group."""

    def names(self) -> Iterator[str]:
        rows = self._ends[-1] if self._ends else 0
        return (f"{column}/{row}" for row in range(rows) for column in self._columns)

    def read(self, name: str, folders: Sequence[str]) -> bytes:
        column, _, text = name.rpartition("/")
        if column not in self._columns or not text.isdecimal() or int(text) >= self._ends[-1]:
            raise KeyError(name)
        number = bisect_right(self._ends, int(text))
        # Each number in _ends is the first row behind a group.
        first = self._ends[number - 1] if number else 0
        cell = self.group(number).column(column)[int(text) - first].as_py()
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if data is None and isinstance(cell, dict) and cell.get("path"):
            return _read_linked(str(cell["path"]), self._folder, folders)
        if data is None:
            raise NotMedia(f"{name}: an empty cell")
        return bytes(data)


class _ParquetContainer(_TableContainer):
    def __init__(self, path: str):
        self._file = pq.ParquetFile(path, memory_map=True)
        facts = self._file.metadata
        counts = [facts.row_group(i).num_rows for i in range(facts.num_row_groups)]
        super().__init__(self._file.schema_arrow, counts, os.path.dirname(path))
        self._read: tuple[int, pa.Table] | None = None

    def group(self, number: int) -> pa.Table:
        # Members are read in order, so one decoded row group is enough.
        if self._read is None or self._read[0] != number:
            self._read = number, self._file.read_row_group(number, columns=self._columns)
        return self._read[1]


class _ArrowContainer(_TableContainer):
    """A folder of `datasets.Dataset.save_to_disk`, whose Arrow files are mapped into memory, not read."""

    def __init__(self, path: str):
        self._tables: list[pa.Table] = []
        try:
            for file in _arrow_files(path):
                self._tables.append(pa.ipc.open_stream(pa.memory_map(file)).read_all())
        except (pa.ArrowException, ValueError, OSError) as error:
            self.wrong = f"cannot be read: {error}"
        schema = self._tables[0].schema if self._tables else pa.schema([])
        super().__init__(schema, [len(table) for table in self._tables], path)

    def group(self, number: int) -> pa.Table:
        return self._tables[number]


_STATE = "state.json"
_STATE_BYTES = 64 << 20
_KINDS: Mapping[str, Callable[[str], Container]] = {".tar": _TarContainer, ".parquet": _ParquetContainer}


def _is_bytes(type: pa.DataType) -> bool:
    if pa.types.is_struct(type):
        return bool(type.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(type) or pa.types.is_large_binary(type))


def _arrow_files(folder: str) -> Iterator[str]:
    """Yield the files that a dataset lists; raise NotMedia if one is not a regular file in its folder."""
    with open_source(os.path.join(folder, _STATE)) as file:
        # The limit keeps a hostile listing from filling the memory.
        state = json.loads(file.read(_STATE_BYTES))
    entries = state.get("_data_files") if isinstance(state, dict) else None
    if not isinstance(entries, list):
        raise NotMedia(f"{_STATE} has no list of _data_files")
    for entry in entries:
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or os.path.basename(name) != name or name in ("", ".", ".."):
            raise NotMedia(f"{_STATE} names a file outside its folder: {name!a}")
        with open_source(os.path.join(folder, name)):  # refuses pipes and devices
            yield os.path.join(folder, name)


def _read_linked(path: str, folder: str, folders: Sequence[str]) -> bytes:
    """Read a regular file that a cell names, beside the table or below a folder that the user named."""
    # A table from a stranger must not make percepts read any other file: links are resolved before the check.
    place = os.path.realpath(os.path.join(folder, path))
    if not any(_is_below(place, os.path.realpath(each)) for each in (folder, *folders)):
        raise NotMedia(
            f"its cell names {path!a}, which is neither in the folder of the table nor in a folder that was named; "
            "name that folder among the inputs, too"
        )
    with open_source(place) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)
