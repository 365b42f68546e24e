"""Write records as one npz file per source and model, in the layout of OpenL3, with constant memory."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from tempfile import SpooledTemporaryFile
from typing import IO, BinaryIO, cast

import numpy as np

from ..support.files import atomic_file, plain_name, safe_name, short_digest
from ..support.outputs import check_output_file
from ..types import Record

IN_MEMORY = 1 << 20
"""Bytes of vectors of one source that are kept in memory. More go to an unnamed temporary file."""
Writer = AbstractContextManager[IO[bytes]]
"""A context manager that opens a file, which takes its name at the end of the block."""
CHUNK = 1 << 12
"""Rows copied at a time into the npz."""


class NpzStore:
    """A folder with one npz file per source and model.

    `np.load` gives

        embedding    (T, D) float32
        timestamps   (T,) float64, seconds at which the windows begin; `start` is the same
        start, stop  (T,) float64, seconds
        model, source  strings

    Rows are sorted by time. A file appears when its source is finished. Records without a vector are left out.
    FileExistsError where a file exists, unless `overwrite` is True.

    Args:
        folder: where the files go. It is made when the first vector comes.
        overwrite: replace files that exist.
        write: function that opens a file, in place of `atomic_file`. It decides about files that exist.

    >>> store = NpzStore(Path("npz"))  # doctest: +SKIP
    >>> store.write(percepts.records("talk.flac", "melstats"))  # doctest: +SKIP
    450
    >>> store.close()  # doctest: +SKIP
    """

    def __init__(
        self, folder: str | Path, *, overwrite: bool = False, write: Callable[[Path], Writer] | None = None
    ) -> None:
        self._folder, self._overwrite, self._write = Path(folder), overwrite, write
        self._open: dict[str, dict[str, _SpooledRows]] = {}

    def write(self, records: Iterable[Record]) -> int:
        """Add records of any sources; return how many there were."""
        count = 0
        for record in records:
            count += 1
            models = self._open.setdefault(record.source, {})
            if record.vector is not None:
                if record.model not in models:
                    self._check_name(record.source, record.model)
                    self._folder.mkdir(parents=True, exist_ok=True)
                    models[record.model] = _SpooledRows(self._folder)
                models[record.model].add(record, record.vector)
        return count

    def finish(self, source: str) -> list[Path]:
        """Write the files of a source that has no more records, and return their paths."""
        paths = []
        for model, spill in self._open.pop(source, {}).items():
            paths.append(self._check_name(source, model))
            with spill.vectors, (self._write or atomic_file)(paths[-1]) as file:
                spill.save(file, source, model)
        return paths

    def _check_name(self, source: str, model: str) -> Path:
        path = self._folder / npz_name(source, model)
        if self._write is None:
            check_output_file(path, inputs=[source], overwrite=self._overwrite)
        return path

    def drop(self, source: str) -> None:
        """Discard the records of a source that is not finished."""
        for spill in self._open.pop(source, {}).values():
            spill.vectors.close()

    def close(self) -> None:
        """Finish all sources."""
        for source in list(self._open):
            self.finish(source)


def npz_name(source: str, model: str) -> str:
    """Return the name of a file: part of the source's name for the reader, a digest of all of it, and the model.

    The name has letters, digits and `_ . -` only, and 150 bytes at most. It differs for every source and model.

    >>> npz_name("/photos/a cup.jpg", "conse")
    'a_cup-5bd3a6daec13b26c.conse.npz'
    """
    # a path of Windows gives the same name on every system
    stem = plain_name(PurePath(source.replace("\\", "/")).stem)[:80] or "source"
    return f"{stem}-{short_digest(source)}.{safe_name(model, 40)}.npz"


def _open_spool(folder: Path) -> BinaryIO:
    # in the folder and not in /tmp, which may be in memory
    return cast(BinaryIO, SpooledTemporaryFile(IN_MEMORY, dir=str(folder)))


@dataclass
class _SpooledRows:
    """The rows of one source and model so far: times in lists, vectors in a temporary file."""

    folder: Path
    start: list[float] = field(default_factory=list)
    stop: list[float] = field(default_factory=list)
    dim: int = 0
    vectors: BinaryIO = field(init=False)

    def __post_init__(self) -> None:
        self.vectors = _open_spool(self.folder)

    def add(self, record: Record, vector: np.ndarray) -> None:
        if self.start and vector.shape != (self.dim,):
            raise ValueError(f"{record.source} at {record.start} s: expected {self.dim} numbers, got {vector.shape}")
        self.dim = len(vector)
        self.start.append(record.start)
        self.stop.append(record.stop)
        self.vectors.write(np.ascontiguousarray(vector, np.float32).tobytes())

    def save(self, file: IO[bytes], source: str, model: str) -> None:
        start, stop = np.array(self.start), np.array(self.stop)
        order = np.argsort(start, kind="stable")  # stable: rows of one start stay in the order they came in
        small = {"timestamps": start[order], "start": start[order], "stop": stop[order]}
        small |= {"model": np.array(model), "source": np.array(source)}
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # not compressed, as by np.savez
            # zipfile needs force_zip64 for members of unknown size that may pass 2 GiB
            with archive.open(_zip_entry("embedding"), "w", force_zip64=True) as member:
                header = {"descr": "<f4", "fortran_order": False, "shape": (len(order), self.dim)}
                # by hand: write_array would need all rows in memory
                np.lib.format.write_array_header_1_0(member, header)
                for rows in np.array_split(order, range(CHUNK, len(order), CHUNK)):
                    self._copy(rows, member)
            for key, array in small.items():
                with archive.open(_zip_entry(key), "w") as member:
                    # a pickle can run code when it is read
                    np.lib.format.write_array(member, array, allow_pickle=False)

    def _copy(self, rows: np.ndarray, member: IO[bytes]) -> None:
        """Copy rows by number into a member; neighbouring rows in one read."""
        width = 4 * self.dim
        for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
            self.vectors.seek(int(run[0]) * width)
            member.write(self.vectors.read(len(run) * width))


def _zip_entry(key: str) -> zipfile.ZipInfo:
    """Return a member of a zip file with a fixed time, so that the same rows give the same bytes."""
    return zipfile.ZipInfo(f"{key}.npy")
