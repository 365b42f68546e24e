"""Check the output files that a user names before the work begins, and write them atomically when it is done.

An output file never replaces an input, and replaces another file only if the user asks for it. A pipe or a terminal,
such as /dev/stdout, is written to directly.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, BinaryIO, cast

from .files import atomic_path, hash_file, open_file, remove_tree, replace_file, write_file

STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
IN_MEMORY = 1 << 26
"""Bytes of output for a pipe that are kept in memory; more go to an unnamed file until the output is complete."""
RECORD = "percepts-files.json"
"""Name of the file in an output folder that lists what percepts wrote there, with sha256."""


def check_output_file(path: str | Path, *, inputs: Iterable[Any] = (), overwrite: bool = False) -> None:
    """Check that a file can be written, before anything is computed for it. Missing folders are made later.

    Args:
        path: path of the output file.
        inputs: what is read to make it. Values that are not paths on this machine are ignored.
        overwrite: replace a file of that name.

    Raises:
        FileExistsError: the path is an input, also under another name; a link; or a file, and `overwrite` is False.
        IsADirectoryError: the path is a folder.
        NotADirectoryError: the parent of the path is a file.
        PermissionError: the folder cannot be written to.
        OSError: the path is a disk or a socket, or the system refuses the name.
    """
    text = _path_text(path)
    if text.endswith(("/", os.sep)) or os.path.isdir(text):
        raise IsADirectoryError(f"{text} is a folder, and a file is expected: add the name of a file")
    status = _stat_target(text)
    if status is None and _stream_descriptor(text):
        raise FileNotFoundError(f"{text} is not open: nothing can be written to it")
    if status is None or not is_stream(text):
        _check_place(Path(text), status, overwrite, inputs)
    elif stat.S_ISREG(status.st_mode):  # /dev/stdout that the shell redirects to a file
        _refuse_inputs(text, status, inputs)


def check_output_files(paths: Iterable[str | Path], *, inputs: Iterable[Any] = (), overwrite: bool = False) -> None:
    """Check several output files of one command as `check_output_file` does, and that they are different files.

    Raises ValueError where two paths are the same file, and what `check_output_file` raises.
    """
    inputs, seen = list(inputs), set[str]()
    for path in paths:
        name = os.path.realpath(path)
        if name in seen:
            raise ValueError(f"{path}: two results would be written to this file: give them different folders or names")
        seen.add(name)
        check_output_file(path, inputs=inputs, overwrite=overwrite)


@contextmanager
def output_file(path: str | Path, *, inputs: Iterable[Any] = (), overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open an output file that takes its name at the end of the block, and is removed if the block raises.

    Checks and raises as `check_output_file`, also for a file that somebody else made during the block.
    """
    inputs = list(inputs)
    check_output_file(path, inputs=inputs, overwrite=overwrite)
    text = _path_text(path)
    if is_stream(path):
        stream = _stream_descriptor(text)
        with SpooledTemporaryFile(IN_MEMORY) as buffer:
            yield cast(BinaryIO, buffer)
            buffer.seek(0)
            # duplicated, because the copy is closed at the end and stdout must stay open
            _write_to_descriptor(buffer, os.dup(stream) if stream else os.open(text, os.O_WRONLY))
        return
    with atomic_path(Path(text)) as part:
        with open_file(part, "w+b") as file:
            yield cast(BinaryIO, file)
        check_output_file(path, inputs=inputs, overwrite=overwrite)  # somebody may have made the file meanwhile


def is_stream(path: str | Path) -> bool:
    """Return whether a path is a pipe, a terminal or similar, which is written to directly."""
    text = _path_text(path)
    status = _stat_target(text)
    return status is not None and (_stream_descriptor(text) is not None or _is_pipe(status))


class OutputFolder:
    """An output folder for several files, written by a command that may be run again.

    A file in the folder, `percepts-files.json`, lists what was written, with sha256. When the command is run again,
    files that are listed and unchanged are replaced. Any other file belongs to the user.

    Args:
        folder: path of the folder. It is made when the first file is written.
        inputs: what is read. It is never overwritten.
        overwrite: replace files of the user, too.
        record: name of the list in the folder.
    """

    def __init__(
        self, folder: str | Path, *, inputs: Iterable[Any] = (), overwrite: bool = False, record: str = RECORD
    ) -> None:
        self.path, self._inputs, self._overwrite, self._list = Path(folder), list(inputs), overwrite, record

    def check(self, names: Iterable[str]) -> None:
        """Check that files of these names, relative to the folder, can be written.

        Raises as `check_output_file`, and FileExistsError where a folder on the way is a link.
        """
        if os.path.lexists(self.path) and not self.path.is_dir():
            raise NotADirectoryError(f"{self.path} is not a folder, and one is expected: choose another name")
        self._check_between(self._list)
        check_output_file(
            self.path / self._list, inputs=self._inputs, overwrite=self._overwrite or self._read_record() is not None
        )
        for name in names:
            self._check_between(name)
            replaced = self._overwrite or self._own_digest(name) is not None
            check_output_file(self.path / name, inputs=self._inputs, overwrite=replaced)

    @contextmanager
    def file(self, name: str) -> Iterator[BinaryIO]:
        """Open a file that takes its name at the end of the block."""
        with self._write_part(name) as part, open_file(part, "w+b") as file:
            yield cast(BinaryIO, file)

    @contextmanager
    def staging(self, below: str = "") -> Iterator[Path]:
        """Make an empty folder for a library that writes several files; move them here at the end of the block.

        Args:
            below: subfolder for the files. It is made if needed.
        """
        folder = self.path / f".{secrets.token_hex(8)}.part"
        folder.mkdir(parents=True)
        try:
            yield folder
            files = {os.path.join(below, p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
            self.check(files)
            for name, path in files.items():
                with self._write_part(name) as part:
                    replace_file(path, part)
        finally:
            remove_tree(folder)

    def claim_folder(self, name: str) -> bool:
        """Record a subfolder as made by this command; return whether it was recorded before.

        FileExistsError where it exists, is not recorded, and `overwrite` is False.
        """
        self.check([])
        record = self._read_record() or _Record({}, frozenset())
        ours = name in record.folders
        if not (ours or self._overwrite) and os.path.lexists(self.path / name):
            raise FileExistsError(
                f"{self.path / name} exists already, and this command did not make it: choose another folder"
            )
        self._write_record(replace(record, folders=record.folders | {name}))
        return ours

    @contextmanager
    def _write_part(self, name: str) -> Iterator[Path]:
        self.check([name])
        with atomic_path(self.path / name) as part:
            yield part
            self._record_file(name, part)
            self.check([name])  # the user may have made the file meanwhile

    def _check_between(self, name: str) -> None:
        place = self.path
        for part in Path(name).parts[:-1]:
            place = place / part
            if place.is_symlink():
                raise FileExistsError(
                    f"{place}: is a symbolic link to {os.readlink(place)}, and links are not followed here; "
                    "move it away, or choose another folder"
                )

    def _own_digest(self, name: str) -> str | None:
        """Return the digest of a file that percepts wrote and nobody changed."""
        record, path = self._read_record(), self.path / name
        known = record.files.get(name, ()) if record else ()
        if not known or path.is_symlink() or not path.is_file():
            return None
        digest = hash_file(path)
        return digest if digest in known else None

    def _record_file(self, name: str, part: Path) -> None:
        """Record a file before it takes its name, beside the one it replaces, so that a kill leaves a recorded one."""
        record, new, old = self._read_record() or _Record({}, frozenset()), hash_file(part), self._own_digest(name)
        record.files[name] = (new,) if old in (None, new) else (str(old), new)
        self._write_record(record)

    def _read_record(self) -> _Record | None:
        """Read the list of the folder; None where there is none, or a file that is not such a list."""
        # a file that is no such list is the user's, whatever is in it
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raw = json.loads((self.path / self._list).read_text("utf-8"))
            files = {str(name): tuple(map(str, digests)) for name, digests in raw["files"].items()}
            return _Record(files, frozenset(map(str, raw["folders"])))
        return None

    def _write_record(self, record: _Record) -> None:
        raw = {"files": record.files, "folders": sorted(record.folders)}
        write_file(self.path / self._list, json.dumps(raw, indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class _Record:
    """The list of what percepts wrote to a folder: files with the digests that they may have, and folders."""

    files: dict[str, tuple[str, ...]]
    folders: frozenset[str]


def _path_text(path: str | Path) -> str:
    text = os.fsdecode(path)
    if "\0" in text:
        raise ValueError(f"expected a path, got one with a zero byte in it: {text!r}")
    return text or "."  # as pathlib reads an empty path


def _stat_target(path: str) -> os.stat_result | None:
    """Return the status of a path, links followed; None where nothing exists or a link leads to nothing."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise type(error)(f"{path}: cannot be written: {error.strerror}") from error


def _stream_descriptor(path: str) -> int | None:
    """Return the descriptor of a name for an open file, such as /dev/stdout or /dev/fd/63; None for other names."""
    folder, _, number = path.rpartition("/")
    if folder in ("/dev/fd", "/proc/self/fd") and number.isdecimal():
        return int(number)
    return STREAMS.get(path)


def _is_pipe(status: os.stat_result) -> bool:
    return stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode)


def _check_place(path: Path, status: os.stat_result | None, overwrite: bool, inputs: Iterable[Any]) -> None:
    """Check a path that is neither a folder nor a pipe."""
    if status is not None:
        _refuse_inputs(str(path), status, inputs)
    if path.is_symlink():
        raise FileExistsError(
            f"{path} is a symbolic link to {os.readlink(path)}, and links are not followed here: move it away, or "
            "name the place that it points to"
        )
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is neither a file nor a pipe: choose another name")
    if status is not None and not overwrite:
        raise FileExistsError(
            f"{path} exists already: choose another name, or replace it by --overwrite (overwrite=True in Python)"
        )
    _check_folder(path)


def _refuse_inputs(path: str, status: os.stat_result, inputs: Iterable[Any]) -> None:
    """Raise FileExistsError where the file is one of the inputs, under this or another name, or through a link."""
    for item in inputs:
        if isinstance(item, str | os.PathLike) and _is_same(status, item):
            other = "" if path == os.fspath(item) else f" ({os.fsdecode(item)})"
            raise FileExistsError(
                f"{path} is one of the inputs{other}, and those are never overwritten: choose another name"
            )


def _is_same(status: os.stat_result, item: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samestat(status, os.stat(item))
    except (OSError, ValueError):  # a URL, or a path where nothing exists
        return False


def _check_folder(path: Path) -> None:
    """Check that the folder of a file can be written to, or the nearest folder above it that exists."""
    folder = path.parent
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):  # without X no file in it can be opened
        raise PermissionError(f"{path} cannot be written: the folder {folder} is read-only for this user")


def _write_to_descriptor(data: IO[bytes], descriptor: int) -> None:
    try:
        while block := data.read(1 << 16):  # the capacity of a pipe on Linux
            while block:  # a pipe may take a part of the bytes
                block = block[os.write(descriptor, block) :]
    finally:
        os.close(descriptor)
