"""Say an error in one line: which file, what happened, what to do."""

from __future__ import annotations

import errno
from collections.abc import Mapping

CURES: Mapping[int, str] = {
    errno.ENOSPC: "free some space on that disk, or write to another one",
    errno.EDQUOT: "your quota on that disk is used up: free some of it, or write to another disk",
    errno.EFBIG: "a file may not grow that large here: `ulimit -f` shows the limit, the file system may have one, too",
    errno.EROFS: "that disk is mounted read-only: write to another one",
    errno.EACCES: "you may not do that there: `ls -ld` shows who may; take another path, or change the permissions",
    errno.EPERM: "you may not do that there: take another path, or ask whoever runs this machine",
    errno.EMFILE: "too many files are open: raise the limit with `ulimit -n 4096`, or give fewer --workers",
    errno.ENFILE: "too many files are open on this machine: end other programs, or give fewer --workers",
    errno.ENAMETOOLONG: "the name is longer than this file system takes: give a shorter one",
    errno.EIO: "the disk reports a fault: look at the system's log, and copy what is on it elsewhere",
    errno.ENOMEM: "the memory is used up: end other programs, or give fewer --workers",
    errno.EEXIST: "something of that name is there: move it away, or take another name",
    errno.ENOTDIR: "a part of that path is a file: give a path whose folders are folders",
    errno.EISDIR: "that is a folder, and a file is expected: give the name of a file",
    errno.ELOOP: "symbolic links lead in a circle there: give the path that they should lead to",
    errno.ENOTEMPTY: "the folder is not empty: take another one",
    errno.EBUSY: "something uses it now: end that, and try again",
}
"""What a user can do about what the system says."""


def describe_error(error: Exception) -> str:
    """Return the message of an error; of one of the system with its file first, and what to do at the end."""
    message = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, OSError) or error.errno is None or not error.strerror:
        return message
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    where = f"{' → '.join(names)}: " if names else ""
    said = " ".join(error.strerror.split())
    cure = CURES.get(error.errno)
    return f"{where}{said}{f'; {cure}' if cure else ''}"
