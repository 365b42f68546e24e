"""Check the files that a user asks for before the work begins, and write them whole when it is done.

An output file never takes the place of an input, and takes that of another file only where the user says so. A pipe
or a terminal, such as /dev/stdout, is written to as it is.
"""

from __future__ import annotations

import hashlib
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

from .files import atomic_path, open_file, remove_tree, replace_file, write_file

STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
IN_MEMORY = 1 << 26
"""Bytes kept in memory of what goes to a pipe; more wait in an unnamed file until all is there."""
RECORD = "percepts-files.json"
"""The file of an output folder that lists what percepts wrote there: name to sha256."""


def check_output_file(path: str | Path, *, inputs: Iterable[Any] = (), overwrite: bool = False) -> None:
    """Check that a file can be written, before anything is computed for it. Folders that are missing are made later.

    Args:
        path: where the file goes.
        inputs: what is read for it; what is no path of this machine counts as nothing.
        overwrite: replace another file of that name.

    Raises:
        FileExistsError: it is an input, by whatever name; a link; or a file, and `overwrite` is False.
        IsADirectoryError: it is a folder.
        NotADirectoryError: what should be its folder is a file.
        PermissionError: its folder cannot be written to.
        OSError: it is a disk or a socket, or the system refuses the name.
    """
    text = _path_text(path)
    if text.endswith(("/", os.sep)) or os.path.isdir(text):
        raise IsADirectoryError(f"{text} is a folder, and a file is expected: add the name of a file")
    found = _stat_target(text)
    if found is None and _stream_descriptor(text):
        raise FileNotFoundError(f"{text} is not open: nothing can be written to it")
    if found is None or not is_stream(text):
        _check_place(Path(text), found, overwrite, inputs)
    elif stat.S_ISREG(found.st_mode):  # /dev/stdout where the shell sends it to a file
        _refuse_inputs(text, found, inputs)


def check_output_files(paths: Iterable[str | Path], *, inputs: Iterable[Any] = (), overwrite: bool = False) -> None:
    """Check several files of one command, as `check_output_file` does, and that no two of them are the same.

    Raises ValueError where two have one name, and what `check_output_file` raises.
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
    """Give a file to write into; it takes its name at the end of the block, whole, and disappears if the block raises.

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
            _write_to_descriptor(buffer, os.dup(stream) if stream else os.open(text, os.O_WRONLY))
        return
    with atomic_path(Path(text)) as part:
        with open_file(part, "w+b") as file:
            yield cast(BinaryIO, file)
        check_output_file(path, inputs=inputs, overwrite=overwrite)


def is_stream(path: str | Path) -> bool:
    """Return whether a path is a pipe, a terminal or the like, which is written to as it is."""
    text = _path_text(path)
    found = _stat_target(text)
    return found is not None and (_stream_descriptor(text) is not None or _is_pipe(found))


class OutputFolder:
    """A folder that a user named for a result of several files, made by a command that may be run again.

    What is written is listed in a file, `percepts-files.json`, with its sha256. A file that is listed and unchanged is
    replaced when the command is run again; any other file of that name is the user's.

    Args:
        folder: made when the first file is written.
        inputs: what is read; never overwritten.
        overwrite: replace files of the user, too.
        record: where the list is, in the folder.
    """

    def __init__(
        self, folder: str | Path, *, inputs: Iterable[Any] = (), overwrite: bool = False, record: str = RECORD
    ) -> None:
        self.path, self._inputs, self._overwrite, self._list = Path(folder), list(inputs), overwrite, record

    def check(self, names: Iterable[str]) -> None:
        """Check that files of these names, relative to the folder, can be written.

        Raises as `check_output_file`; FileExistsError where a folder between is a link, too.
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
        """Give a file to write into; it takes its name at the end of the block, whole."""
        with self._write_part(name) as part, open_file(part, "w+b") as file:
            yield cast(BinaryIO, file)

    @contextmanager
    def staging(self, below: str = "") -> Iterator[Path]:
        """Give an empty folder to a library that writes several files; they come here at the end of the block.

        Args:
            below: of the folder, where they come to; made where it is not there.
        """
        folder = self.path / f".{secrets.token_hex(8)}.part"
        folder.mkdir(parents=True)
        try:
            yield folder
            found = {os.path.join(below, p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
            self.check(found)
            for name, path in found.items():
                with self._write_part(name) as part:
                    replace_file(path, part)
        finally:
            remove_tree(folder)

    def claim_folder(self, name: str) -> bool:
        """Return whether a folder in this one is percepts' own: made by the same command before, or yet to be made.

        FileExistsError where it is another's, and `overwrite` is False.
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
            self.check([name])

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
        digest = _digest(path)
        return digest if digest in known else None

    def _record_file(self, name: str, part: Path) -> None:
        """List what is about to take its name, and what it replaces: whichever a kill leaves is known again."""
        record, new, old = self._read_record() or _Record({}, frozenset()), _digest(part), self._own_digest(name)
        record.files[name] = (new,) if old in (None, new) else (str(old), new)
        self._write_record(record)

    def _read_record(self) -> _Record | None:
        """Return what is listed; None where there is no list, or a file that is none."""
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            found = json.loads((self.path / self._list).read_text("utf-8"))
            files = {str(name): tuple(map(str, digests)) for name, digests in found["files"].items()}
            return _Record(files, frozenset(map(str, found["folders"])))
        return None

    def _write_record(self, record: _Record) -> None:
        told = {"files": record.files, "folders": sorted(record.folders)}
        write_file(self.path / self._list, json.dumps(told, indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class _Record:
    """What percepts wrote to a folder: files with the digests that they may have, and folders."""

    files: dict[str, tuple[str, ...]]
    folders: frozenset[str]


def _path_text(path: str | Path) -> str:
    text = os.fsdecode(path)
    if "\0" in text:
        raise ValueError(f"expected a path, got one with a zero byte in it: {text!r}")
    return text or "."


def _stat_target(path: str) -> os.stat_result | None:
    """Return what is there, links followed; None where nothing is or a link leads to nothing."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise type(error)(f"{path}: cannot be written: {error.strerror}") from error


def _stream_descriptor(path: str) -> int | None:
    """Return the descriptor that the name of an open file stands for: /dev/stdout, /dev/fd/63."""
    folder, _, number = path.rpartition("/")
    if folder in ("/dev/fd", "/proc/self/fd") and number.isdecimal():
        return int(number)
    return STREAMS.get(path)


def _is_pipe(found: os.stat_result) -> bool:
    return stat.S_ISFIFO(found.st_mode) or stat.S_ISCHR(found.st_mode)


def _check_place(path: Path, found: os.stat_result | None, overwrite: bool, inputs: Iterable[Any]) -> None:
    """Check a path that is neither a folder nor a pipe."""
    if found is not None:
        _refuse_inputs(str(path), found, inputs)
    if path.is_symlink():
        raise FileExistsError(
            f"{path} is a symbolic link to {os.readlink(path)}, and links are not followed here: move it away, or "
            "name the place that it points to"
        )
    if found is not None and not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is neither a file nor a pipe: choose another name")
    if found is not None and not overwrite:
        raise FileExistsError(
            f"{path} exists already: choose another name, or replace it by --overwrite (overwrite=True in Python)"
        )
    _check_folder(path)


def _refuse_inputs(path: str, found: os.stat_result, inputs: Iterable[Any]) -> None:
    """Raise FileExistsError where the file is one of the inputs, by this name, another, or a link."""
    for item in inputs:
        if isinstance(item, str | os.PathLike) and _is_same(found, item):
            other = "" if path == os.fspath(item) else f" ({os.fsdecode(item)})"
            raise FileExistsError(
                f"{path} is one of the inputs{other}, and those are never overwritten: choose another name"
            )


def _is_same(found: os.stat_result, item: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samestat(found, os.stat(item))
    except (OSError, ValueError):  # an URL, a name that nothing has
        return False


def _check_folder(path: Path) -> None:
    """Check the folder that a file goes to, or the nearest one above that exists."""
    folder = path.parent
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: the folder {folder} is read-only for this user")


def _write_to_descriptor(data: IO[bytes], descriptor: int) -> None:
    try:
        while block := data.read(1 << 16):
            while block:
                block = block[os.write(descriptor, block) :]
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
