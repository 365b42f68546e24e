"""Open a source, a path or bytes, as a file. Errors of the system become errors that say what to do."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from ..errors import NotMedia

Source = str | Path | bytes
"""A path as str or Path, or the bytes of a file. A str is always a path, never a URL or text."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
# Errors of the system, beside ENOENT, for a path that leads to no file.
_NOWHERE = {
    errno.ELOOP: "symbolic links that lead in a circle",
    errno.ENAMETOOLONG: "no such file: the name is longer than a file name can be",
    errno.ENOTDIR: "no such file: a part of its path is a file, not a directory",
}
_ODD = {stat.S_ISFIFO: "a named pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}


def name_of(source: Source) -> str:
    """Return the name of a source for messages; printable whatever bytes the file name is made of."""
    if isinstance(source, bytes):
        return f"<{len(source)} bytes in memory>"
    return os.fsencode(source).decode("utf-8", "backslashreplace")


def source_path(source: Source) -> str:
    """Return the value for `Clip.source`: the path as it was given, "" for bytes."""
    return "" if isinstance(source, bytes) else os.fspath(source)


def is_url(text: str) -> bool:
    """Return whether a text is written like a URL: letters, a colon, a slash."""
    # two letters or more: C:/ is a drive of Windows
    return _URL.match(text) is not None


def open_source(source: Source) -> BinaryIO:
    """Open a source for reading from its first byte.

    Raises:
        FileNotFoundError: nothing is there. For a URL the message says how to allow its host.
        PermissionError: it cannot be read.
        IsADirectoryError: it is a directory.
        NotMedia: it is a pipe, a socket or a device, which may never end.
    """
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"expected a path (str or Path) or bytes, got {type(source).__name__}")
    try:
        mode = os.stat(source).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a directory, not a file", name_of(source))
        for is_odd, what in _ODD.items():
            if is_odd(mode):
                raise NotMedia(f"{name_of(source)}: is {what}, not a file")
        return open(source, "rb")
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, _describe_missing(os.fspath(source)), name_of(source)) from error
    except OSError as error:
        if error.errno in _NOWHERE:
            raise FileNotFoundError(error.errno, _NOWHERE[error.errno], name_of(source)) from error
        raise
    except ValueError as error:  # a null byte in the name
        if isinstance(error, NotMedia):
            raise
        raise FileNotFoundError(errno.ENOENT, f"no such file: {error}", repr(source)) from error


def _describe_missing(path: str) -> str:
    if path.lower().startswith("file:"):
        return "no such file. Give the plain path, without file:"
    if is_url(path):
        return "no such file, and URLs are off unless their host is allowed (hosts=[...] of embed, or media.Fetcher)"
    return "no such file"
