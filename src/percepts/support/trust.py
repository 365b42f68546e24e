"""Check who else can write to a folder of the cache. Models are run from it, so strangers must not change it."""

from __future__ import annotations

import logging
import os
import stat
from functools import cache
from pathlib import Path

from ..errors import WeightsError

log = logging.getLogger(__name__)

_warned: set[int] = set()
_CURE = "or set PERCEPTS_CACHE to a folder of your own"


def check_folder(folder: Path, root: Path) -> None:
    """Raise WeightsError where users other than this one and root can change a folder or replace it.

    A group of this user may write to it: that is a shared cache, and a warning says so once. `root` is the cache that
    the folder is in; every folder on the way from there is checked as strictly.
    """
    if not hasattr(os, "getuid"):
        return  # Windows keeps permissions in access control lists, which are not read here
    for resolved in (
        os.path.abspath,
        os.path.realpath,
    ):  # the folders of the path as named, and those that links lead to
        place, top = Path(resolved(folder)), Path(resolved(root))
        _check_itself(place)
        child = place
        for parent in place.parents:
            if parent == top or top in parent.parents:
                _check_itself(parent)
            else:
                _check_parent(parent, child)
            child = parent


def is_shared(folder: Path) -> bool:
    """Return whether other members of a group can write to a folder."""
    if not hasattr(os, "getuid"):
        return False
    status = folder.stat()
    return bool(status.st_mode & stat.S_IWGRP) and _has_others(status.st_gid)


def _check_itself(folder: Path) -> None:
    status = folder.stat()
    if status.st_mode & stat.S_IWOTH:
        raise _make_refusal(
            folder, f"every user of this machine can write to it (mode {status.st_mode & 0o7777:04o})", True
        )
    if status.st_mode & stat.S_IWGRP and _has_others(status.st_gid):
        if not _in_group(status.st_gid):
            raise _make_refusal(
                folder, f"the group {_group_name(status.st_gid)} can write to it, and you are not in it", True
            )
        _warn_shared(folder, status.st_gid)
    elif not _is_trusted(status.st_uid):
        raise _make_refusal(folder, f"it belongs to {_user_name(status.st_uid)}, who can write to it", False)


def _check_parent(parent: Path, child: Path) -> None:
    """Raise WeightsError where other users can rename a folder, because they can write to its parent."""
    # in a parent with the sticky bit, such as /tmp, only owners can rename
    status = parent.stat()
    if status.st_mode & stat.S_ISVTX and (_is_trusted(child.lstat().st_uid) or is_shared(child)):
        return
    if status.st_mode & stat.S_IWOTH:
        raise _make_refusal(child, f"every user of this machine can write to {parent} and rename it", False)
    if status.st_mode & stat.S_IWGRP and _has_others(status.st_gid) and not _in_group(status.st_gid):
        raise _make_refusal(child, f"the group {_group_name(status.st_gid)} can write to {parent} and rename it", False)
    if not _is_trusted(status.st_uid) and not is_shared(child):
        raise _make_refusal(child, f"{parent}, which it lies in, belongs to {_user_name(status.st_uid)}", False)


def _make_refusal(folder: Path, why: str, can_chmod: bool) -> WeightsError:
    cure = f"run `chmod go-w {folder}` if what lies there is yours, {_CURE}" if can_chmod else _CURE.removeprefix("or ")
    return WeightsError(f"the cache folder {folder} is not used: {why}, and models are run from it. Cure: {cure}")


def _warn_shared(folder: Path, gid: int) -> None:
    """Log once in a process that a group shares a cache."""
    if gid not in _warned:
        _warned.add(gid)
        log.warning(
            "the cache %s is shared: everybody in the group %s can change what is run from it", folder, _group_name(gid)
        )


def _is_trusted(uid: int) -> bool:
    """Return whether a user id is this user, root, or "nobody" in a container that does not map root."""
    return uid in (os.geteuid(), 0) or (uid == _overflow_uid() and os.geteuid() != uid)


@cache
def _overflow_uid() -> int:
    """Return the id that stands for users whom a container does not map; -1 where it maps all users."""
    try:
        # outside containers one row maps all 2**32 - 1 ids
        mapped = sum(int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text().splitlines())
        return int(Path("/proc/sys/kernel/overflowuid").read_text()) if mapped < 2**32 - 1 else -1
    except (OSError, ValueError, IndexError):
        return -1


def _in_group(gid: int) -> bool:
    return gid in (os.getegid(), *os.getgroups())


def _has_others(gid: int) -> bool:
    """Return whether a group may have members beside this user and root. Many systems give each user its own group."""
    if gid == 0:  # root can change everything anyway
        return False
    try:
        import grp
        import pwd

        me = pwd.getpwuid(os.geteuid())
        group = grp.getgrgid(gid)
    except (ImportError, KeyError):
        return True  # of a group without a name nothing is known
    return not (group.gr_name == me.pw_name and set(group.gr_mem) <= {me.pw_name})


def _user_name(uid: int) -> str:
    try:
        import pwd

        return f"the user {pwd.getpwuid(uid).pw_name}"
    except (ImportError, KeyError):
        return f"user {uid}"


def _group_name(gid: int) -> str:
    try:
        import grp

        return grp.getgrgid(gid).gr_name
    except (ImportError, KeyError):
        return str(gid)
