"""Write the files of `--format` and list each with its digest, so that only those, unchanged, are ever removed.

A file is listed before it gets its name, so that a run that is killed leaves no file that could be the user's.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from ...errors import JobError
from ...support.files import (
    DRAFT,
    atomic_file,
    draft_file,
    draft_folder,
    file_digest,
    is_file,
    open_file,
    remove_empty_folder,
    remove_file,
    remove_tree,
    rename_folder,
    replace_file,
    sync_file,
    sync_folder,
)
from .owned_files import HEADER, LISTED

log = logging.getLogger(__name__)

_SHOWN = 5


class FormatFiles:
    """The files that `--format` made in a job directory, below the folders given.

    Names are relative to the directory, with slashes.
    """

    def __init__(self, directory: Path, folders: Collection[str]) -> None:
        self._directory, self._folders = directory, folders
        self._read: dict[str, tuple[str, ...]] | None = None
        self._begun = False
        self._lines = 0
        self._checked: set[Path] = set()
        self._clashes: list[str] = []

    def names(self, folder: str) -> list[str]:
        """Return the listed files below a folder."""
        return [name for name in self._listed if name.startswith(f"{folder}/")]

    def is_made(self, name: str) -> bool:
        """Return whether a file is listed and exists; a file that was changed since still counts."""
        return name in self._listed and os.path.lexists(self._directory / name)

    @contextmanager
    def write(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a file to write into; at the end it takes its name, unless a file of the user has that name."""
        with self.begin_group() as group, group.write(name) as file:
            yield file

    @contextmanager
    def begin_group(self) -> Iterator[FileGroup]:
        """Yield a group of files that take their names together, once all of them are written."""
        with ExitStack() as drafts:
            group = FileGroup(self, drafts)
            yield group
            placed = [self._place(part, name) for part, name in group.drafts]
            if group.closing and all(placed):
                self._place(*group.closing)

    def remove(self, name: str) -> None:
        """Remove a file that is listed and unchanged; a changed one belongs to the user from now on."""
        if name not in self._listed:
            return
        digest = file_digest(self._path(name))
        if digest in self._listed[name]:
            remove_file(self._directory / name)
        self._append_line(name, None)
        del self._listed[name]

    @contextmanager
    def begin_folder(self, name: str) -> Iterator[Path | None]:
        """Yield a folder to fill, which replaces the old one at the end.

        Yield None, and keep the old one, if it holds a file that percepts did not make or that was changed since.
        """
        old = self._path(name)
        held = {path.relative_to(self._directory).as_posix() for path in _list_files(old)}
        if any(file_digest(self._directory / file) not in self._listed.get(file, ()) for file in held):
            self._clashes.append(name)
            yield None
            return
        fresh = draft_folder(old)
        try:
            yield fresh
            new = {
                f"{name}/{path.relative_to(fresh).as_posix()}": file_digest(path) or "" for path in _list_files(fresh)
            }
            for file, digest in new.items():
                self._list(file, digest)
            for file in held:
                remove_file(self._directory / file)
            _remove_empty(old)
            rename_folder(fresh, old)
        finally:
            remove_tree(fresh)
        sync_folder(old.parent)
        for file in held - new.keys():
            self._append_line(file, None)
            del self._listed[file]
        self._listed.update({file: (digest,) for file, digest in new.items()})

    def erase(self) -> None:
        """Remove every listed file that is unchanged, then the empty folders and the list itself."""
        folders = {name.partition("/")[0] for name in self._listed}
        for name in list(self._listed):
            self.remove(name)
        for folder in folders:
            self.sweep(folder)
            _remove_empty(self._directory / folder)
        remove_file(self._directory / LISTED)
        self._read, self._begun = None, False

    def sweep(self, folder: str) -> None:
        """Remove the unfinished drafts of a run that was killed."""
        for above, folders, names in os.walk(self._path(folder)):
            for name in filter(DRAFT.fullmatch, names):
                if is_file(Path(above) / name):
                    remove_file(Path(above) / name)
            for name in filter(DRAFT.fullmatch, folders):
                if not (Path(above) / name).is_symlink():
                    remove_tree(Path(above) / name)

    def finish(self) -> None:
        """Rewrite the list if much of it is out of date, and warn about files of the user that are in the way."""
        # Rewriting it each time would make the cost grow with the square of the number of files.
        if self._read is not None and self._lines > 2 * len(self._read) + 10:
            with atomic_file(self._directory / LISTED) as file:
                file.write(HEADER)
                file.writelines(
                    _format_line(name, digest) for name, digests in self._read.items() for digest in digests
                )
            self._lines = len(self._read)
        if self._clashes:
            names = ", ".join(self._clashes[:_SHOWN]) + (" …" if len(self._clashes) > _SHOWN else "")
            log.warning(
                "%s: %d of the files to write exist already, and were not made by percepts or were changed since. "
                "They were not touched: %s. To have them written, move them away and run again",
                self._directory,
                len(self._clashes),
                names,
            )
        self._clashes = []

    @property
    def _listed(self) -> dict[str, tuple[str, ...]]:
        if self._read is None:
            self._read = {}
            for name, digest in _read_list(self._directory / LISTED, self._folders):
                self._lines += 1
                if digest is None:
                    self._read.pop(name, None)
                # Several digests may be valid: a kill leaves it open whether the new file got its name.
                elif digest not in self._read.get(name, ()):
                    self._read[name] = (*self._read.get(name, ()), digest)
        return self._read

    def _place(self, part: Path, name: str) -> bool:
        """Give a written file its name, if that is free or an unchanged listed file has it."""
        path, digest = self._directory / name, file_digest(part) or ""
        if os.path.lexists(path):
            present = file_digest(path)
            if present != digest and (present is None or present not in self._listed.get(name, ())):
                self._clashes.append(name)
                return False
            # The same bytes are there already, so nothing has to be written.
            if present == digest:
                if self._listed.get(name) != (digest,):
                    self._list(name, digest)
                return True
        self._list(name, digest)
        # Listed before it has its name: a kill in between leaves a name without a file, which harms nobody.
        replace_file(part, path)
        # So that the new name survives a power failure, too.
        sync_folder(path.parent)
        self._listed[name] = (digest,)
        return True

    def _list(self, name: str, digest: str) -> None:
        self._listed[name] = (*self._listed.get(name, ()), digest)
        self._append_line(name, digest)

    def _append_line(self, name: str, digest: str | None) -> None:
        path = self._directory / LISTED
        begun = is_file(path)
        with open_file(path, "ab") as file:
            if not self._begun:
                file.write(b"\n" if begun else HEADER)  # the last line may be cut short
            file.write(_format_line(name, digest))
        self._begun = True
        self._lines += 1

    def _path(self, name: str) -> Path:
        """Return the path of a file or folder; JobError where a folder on the way to it is a link or a file."""
        path = self._directory / name
        for folder in reversed(path.parents):
            if folder in self._checked or not folder.is_relative_to(self._directory) or folder == self._directory:
                continue
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise JobError(f"{folder}: expected a folder that percepts made, got a link or a file; move it away")
            self._checked.add(folder)
        return path


class FileGroup:
    """A group of files of one format that take their names together."""

    def __init__(self, files: FormatFiles, stack: ExitStack) -> None:
        self._files, self._stack = files, stack
        self.drafts: list[tuple[Path, str]] = []
        self.closing: tuple[Path, str] | None = None

    @contextmanager
    def write(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a file to write into."""
        with self._draft(name) as (file, part):
            yield file
        self.drafts.append((part, name))

    def close(self, name: str, data: bytes) -> None:
        """Write a last file, which takes its name only if all others could take theirs."""
        with self._draft(name) as (file, part):
            file.write(data)
        self.closing = part, name

    @contextmanager
    def _draft(self, name: str) -> Iterator[tuple[IO[bytes], Path]]:
        part = self._stack.enter_context(draft_file(self._files._path(name)))
        with open_file(part, "r+b") as file:
            yield file, part
        sync_file(part)


def _read_list(path: Path, folders: Collection[str]) -> Iterator[tuple[str, str | None]]:
    """Yield names and digests; leave out a line that is cut short or names a file in another folder."""
    if not is_file(path):
        return
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
                name, digest = row["file"], row["sha256"]
            except (ValueError, KeyError, TypeError):
                continue
            above, *rest = name.split("/") if isinstance(name, str) else ("",)
            if above in folders and rest and "\0" not in name and not {"", ".", ".."} & set(rest):
                yield name, None if digest is None else str(digest)


def _format_line(name: str, digest: str | None) -> bytes:
    return json.dumps({"file": name, "sha256": digest}).encode() + b"\n"


def _list_files(folder: Path) -> list[Path]:
    """Return everything below a folder that is not a folder itself; links to folders count as files."""
    found = []
    for above, folders, names in os.walk(folder):
        found += [Path(above) / name for name in names]
        found += [Path(above) / name for name in folders if (Path(above) / name).is_symlink()]
    return found


def _remove_empty(folder: Path) -> None:
    """Remove the empty folders below this one, then this one if it is empty."""
    # From the bottom, since removing its empty folders may leave a folder empty.
    for above, _, _ in os.walk(folder, topdown=False):
        remove_empty_folder(Path(above))
