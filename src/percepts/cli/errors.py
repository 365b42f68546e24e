"""Describe errors in one line: the file, what happened, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import typer

from ..errors import PerceptsError
from .output import escape_text

CURES: Mapping[int, str] = {
    errno.ENOSPC: "free some space on that disk, or write to another disk",
    errno.EDQUOT: "your quota on that disk is used up: free some of it, or write to another disk",
    errno.EFBIG: "a file cannot grow that large here: `ulimit -f` shows the limit; the file system may have one too",
    errno.EROFS: "that disk is mounted read-only: write to another disk",
    errno.EACCES: "you have no permission there (see `ls -ld`): use another path, or change the permissions",
    errno.EPERM: "you have no permission there: use another path, or ask the administrator of this machine",
    errno.EMFILE: "too many files are open: raise the limit with `ulimit -n 4096`, or use fewer --workers",
    errno.ENFILE: "too many files are open on this machine: close other programs, or use fewer --workers",
    errno.ENAMETOOLONG: "the name is too long for this file system: use a shorter one",
    errno.EIO: "the disk reports a fault: read the system's log, and copy your files to another disk",
    errno.ENOMEM: "memory ran out: close other programs, or use fewer --workers",
    errno.EEXIST: "something with that name exists already: move it away, or use another name",
    errno.ENOTDIR: "a part of that path is a file, not a folder: use another path",
    errno.EISDIR: "that is a folder, and a file is expected: use the name of a file",
    errno.ELOOP: "symbolic links form a circle there: use the path that they should point to",
    errno.ENOTEMPTY: "the folder is not empty: use another one",
    errno.EBUSY: "another program is using it: close that program, and try again",
}
"""What a user can do about an error of the system, by its number."""


def describe_error(error: Exception) -> str:
    """Return the message of an error in one line; an error of the system gets its file and what to do about it."""
    # Some libraries raise errors without a message, and others with several lines.
    message = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, OSError) or error.errno is None or not error.strerror:
        return message
    # A rename that fails has two files.
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    where = f"{' → '.join(names)}: " if names else ""
    reason = " ".join(error.strerror.split())
    cure = CURES.get(error.errno)
    return f"{where}{reason}{f'; {cure}' if cure else ''}"


@contextmanager
def usage_errors(option: str | None = None) -> Iterator[None]:
    """Turn a ValueError about an option's value into an error of usage, which ends with exit code 2.

    Args:
        option: the option to name in the message.
    """
    try:
        yield
    except PerceptsError:  # some of them are a ValueError too, and are about a file or a model
        raise
    except ValueError as error:
        raise typer.BadParameter(escape_text(str(error)), param_hint=option) from error
