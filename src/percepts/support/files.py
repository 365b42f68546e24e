"""Write, replace and remove files and folders. No other code of the package does so.

Nothing here follows a symbolic link at the end of a path, and nothing removes what is not a regular file or a folder.
A link at that place is refused with `FileExistsError`: it belongs to the user, and so does what it points to.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

SUFFIX = ".tmp"
"""Ending of the name of a file that is being written. No reader opens such a file."""
DRAFT = re.compile(r"\..+\.[0-9a-f]{16}\.part")
"""Names of files and folders that are being made under a random name."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
_MODES = {"w": os.O_CREAT | os.O_TRUNC, "a": os.O_CREAT | os.O_APPEND, "x": os.O_CREAT | os.O_EXCL, "r": 0}


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the name `path` at the end of the block, and is removed if the block raises.

    The temporary name is fixed, so the next writer replaces what a killed one left. The caller must keep two writers of
    one path apart.

    Raises:
        FileExistsError: `path`, or its temporary name, is a link, a folder or a device.
    """
    refuse_unless_file(path)
    temporary = path.with_name(path.name + SUFFIX)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_file(temporary)
    file = open_file(temporary, "xb")
    try:
        with name_in_errors(path), file:
            yield file
            file.flush()  # both before the rename: after a power cut the name must not have half of the data
            os.fsync(file.fileno())
        replace_file(temporary, path)
    except BaseException:  # KeyboardInterrupt, too, must leave no half file
        with suppress(OSError):  # the first error is the one to report
            remove_file(temporary)
        raise
    sync_folder(path.parent)


@contextmanager
def atomic_path(path: Path, *, permissions: int = 0o666) -> Iterator[Path]:
    """Make a path for a library that opens files itself; the file is renamed to `path` if the block succeeds.

    The file exists, empty, under a name that nobody can guess. Several processes may write one path at the same time:
    the last one wins.

    Args:
        path: final name of the file.
        permissions: of the file; the umask is subtracted.

    Raises:
        FileExistsError: `path` is a link, a folder or a device.
    """
    refuse_unless_file(path)
    with draft_file(path, permissions=permissions) as part:
        yield part
        sync_file(part)
        replace_file(part, path)


@contextmanager
def draft_file(path: Path, *, permissions: int = 0o666) -> Iterator[Path]:
    """Make an empty file beside `path` under a name that nobody can guess; remove it at the end unless it was renamed.

    `DRAFT` matches what a writer that was killed has left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{plain_name(path.name)[:80]}.{secrets.token_hex(8)}.part")
    open_file(part, "xb", permissions=permissions).close()
    try:
        with name_in_errors(path):
            yield part
    finally:
        remove_file(part)


def sync_file(path: Path) -> None:
    """Write a file through to the disk, so that it survives a power cut."""
    with open_file(path, "r+b") as file:  # r+b: Windows syncs only files open for writing
        os.fsync(file.fileno())


@contextmanager
def name_in_errors(path: Path) -> Iterator[None]:
    """Add the file name to errors of the disk inside the block: an error of `write` has none."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _OF_THE_DISK:
            error.filename = str(path)
        raise


def write_file(path: Path, data: bytes | str) -> None:
    """Write a file atomically; text as UTF-8. Raises as `atomic_file`."""
    with atomic_file(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def open_file(path: Path, mode: str, *, permissions: int = 0o666, **options: Any) -> IO[Any]:
    """Open a file to write into it, as `open` does, but refuse a link at the end of the path.

    Raises:
        FileExistsError: `path` is a link or a folder, or there is a file and the mode is "x".
    """

    def opener(name: str, _: int) -> int:
        access = os.O_RDWR if "+" in mode else os.O_WRONLY
        # O_NOFOLLOW closes the gap between the check above and the opening; Windows has none of these flags
        flags = access | _MODES[mode[0]] | _NO_LINK | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        return os.open(name, flags, permissions)

    _refuse_link(path)
    return open(path, mode, opener=opener, **options)  # the caller closes it


def replace_file(source: Path, target: Path) -> None:
    """Rename a file over another. Raises FileExistsError where `target` is a link, a folder or a device."""
    refuse_unless_file(target)
    os.replace(source, target)


def draft_folder(folder: Path) -> Path:
    """Make an empty folder beside `folder` under a name that nobody can guess, which `DRAFT` matches."""
    made = folder.with_name(f".{folder.name[:80]}.{secrets.token_hex(8)}.part")
    made.mkdir(parents=True)
    return made


def set_aside_file(path: Path) -> Path:
    """Rename a file that is to be replaced to a new name, such as `name.old.json`, and return that."""
    for number in itertools.count():
        kept = path.with_suffix(f".old{number or ''}{path.suffix}")
        if not os.path.lexists(kept):
            os.rename(path, kept)
            return kept
    raise AssertionError  # never reached, because count has no end


def link_file(source: Path, target: Path) -> None:
    """Make a hard link to a regular file. OSError where the name exists or the file system has no hard links."""
    refuse_unless_file(source)
    os.link(source, target)


def copy_file(source: Path, target: Path) -> None:
    """Copy a regular file to a name that does not exist yet."""
    refuse_unless_file(source)
    with source.open("rb") as read, open_file(target, "xb") as write:
        shutil.copyfileobj(read, write, 1 << 20)  # shutil.copy would follow a link at the target


def rename_folder(source: Path, target: Path) -> None:
    """Rename a folder to a name that does not exist or is an empty folder."""
    _refuse_link(target)
    os.replace(source, target)


def remove_file(path: Path) -> None:
    """Remove a regular file; do nothing where there is none.

    Raises:
        FileExistsError: `path` is a link, a folder or a device.
    """
    if refuse_unless_file(path):
        path.unlink(missing_ok=True)  # another process may have removed it since the check


def remove_tree(folder: Path) -> None:
    """Remove a folder with everything in it. Links in it are removed; what they point to is not.

    Raises:
        FileExistsError: `folder` is a link or a file.
    """
    _refuse_link(folder)
    status = _lstat(folder)
    if status is not None and not stat.S_ISDIR(status.st_mode):
        raise FileExistsError(f"{folder}: a folder is to be removed here, and this is a file; move it away")
    if status is not None:
        shutil.rmtree(folder)  # it does not follow links inside the folder


def remove_empty_folder(folder: Path) -> bool:
    """Remove an empty folder, not a link to one; return whether it was removed."""
    try:
        # it fails for a folder with files and for a link, and both shall stay
        folder.rmdir()
    except OSError:
        return False
    return True


def is_file(path: Path) -> bool:
    """Return whether a path is a regular file itself, not a link to one."""
    status = _lstat(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def refuse_unless_file(path: Path) -> bool:
    """Return whether a regular file exists at a path; raise FileExistsError where something else does."""
    _refuse_link(path)
    status = _lstat(path)
    if status is not None and not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "neither a file nor a folder"
        raise FileExistsError(f"{path}: a file is to be written or removed here, and this is {kind}; move it away")
    return status is not None


def file_begins_with(path: Path, beginning: bytes, *, cut: bool = False) -> bool:
    """Return whether a regular file begins with `beginning`; with `cut` also if it is a part of it, as after a kill."""
    if not is_file(path):
        return False
    with path.open("rb") as file:
        head = file.read(len(beginning))
    return head == beginning or (cut and beginning.startswith(head))


def hash_file(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal digits, at 1.5 GB a second. Raises as `open`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digest(path: Path) -> str | None:
    """Return the sha256 of a regular file; None where there is none, or something else."""
    return hash_file(path) if is_file(path) else None


def _refuse_link(path: Path) -> None:
    status = _lstat(path)
    if status is not None and stat.S_ISLNK(status.st_mode):
        raise FileExistsError(
            f"{path}: is a symbolic link to {os.readlink(path)}, and links are not followed here; "
            "move it away, or name the place that it points to"
        )


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def sync_folder(folder: Path) -> None:
    """Write renames in a folder through to the disk, so that they survive a power cut. Windows has no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def safe_name(text: str, limit: int = 80) -> str:
    """Return a file name of letters, digits and `_ . -` for any text. A changed text gets its digest as ending.

    So no two texts share a name, except on file systems that ignore case.
    """
    safe = plain_name(text)
    # 17: a hyphen and the digits of the digest
    return safe if safe == text and 0 < len(safe) <= limit else f"{safe[: limit - 17]}-{short_digest(text)}"


def plain_name(text: str) -> str:
    """Replace by `_` every character of a text that some file system or shell gives a meaning to."""
    # a dot in front would hide the file, and a hyphen would make it an option
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text).lstrip(".-")


def short_digest(text: str) -> str:
    """Return 16 hexadecimal digits of the sha256 of a text."""
    # surrogatepass: the names of files that are not UTF-8 hold lone surrogates
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
