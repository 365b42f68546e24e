"""Files that are there whole or not at all: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

SUFFIX = ".tmp"
"""What the name of a file under construction ends in; such a file never counts."""


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A file to write into, which becomes `path` at the end of the block, and disappears if the block raises.

    The temporary name is fixed, so that a writer that was killed leaves nothing that the next one does not overwrite;
    two writers of one path at once must be kept apart by the caller.
    """
    temporary = path.with_name(path.name + SUFFIX)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut, where the system can (Windows cannot open a folder)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def safe_name(text: str, limit: int = 80) -> str:
    """A file name of letters, digits and `_ . -` for any text; one that had to be changed ends in a digest of it.

    So no two texts share a name, except that a file system may take upper and lower case for the same.
    """
    safe = plain(text)
    return safe if safe == text and 0 < len(safe) <= limit else f"{safe[: limit - 17]}-{short_digest(text)}"


def plain(text: str) -> str:
    """The text with `_` for everything that some file system or shell would take amiss."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text).lstrip(".-")


def short_digest(text: str) -> str:
    """16 hexadecimal digits of the sha256 of any text, lone surrogates of undecodable file names included."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
