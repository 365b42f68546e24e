"""Find the cache folder of percepts and write files in it atomically. There is one cache for each user."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import filelock
import platformdirs

from ..errors import WeightsError
from .files import atomic_path
from .trust import check_folder, is_shared

ENVIRONMENT = "PERCEPTS_CACHE"


def cache_root() -> Path:
    """Return the folder named by PERCEPTS_CACHE, else the user's cache folder of the platform. It may not exist."""
    named = os.environ.get(ENVIRONMENT)
    return Path(named).expanduser() if named else platformdirs.user_cache_path("percepts", appauthor=False)


@cache
def processor_id() -> str:
    """Return eight hexadecimal digits for the processor and its instructions, as a key of what was measured on it.

    Machines of a cluster share the folder, and the name alone is not enough: one "AMD EPYC" multiplies 8-bit integers
    four times as fast as floats, another no faster.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        # Features: the flags of ARM
        facts = [
            next((line for line in lines if line.startswith(key)), "") for key in ("model name", "flags", "Features")
        ]
    except OSError:
        facts = [platform.processor()]
    return hashlib.sha256("|".join([platform.machine(), *facts]).encode()).hexdigest()[:8]


@contextmanager
def atomic_cache_path(path: Path) -> Iterator[Path]:
    """Make a temporary path beside `path`; it is renamed to `path` if the block succeeds, and removed if it raises."""
    make_folder(path.parent)
    with atomic_path(path, permissions=0o640 if is_shared(path.parent) else 0o600) as part:
        yield part


def lock_path(path: Path) -> filelock.BaseFileLock:
    """Return a lock for processes that make the same `path`. The system releases it when its holder dies."""
    make_folder(path.parent)
    return filelock.FileLock(path.with_name(path.name + ".lock"), mode=0o660 if is_shared(path.parent) else 0o600)


def make_folder(folder: Path) -> None:
    """Make a folder of the cache, for this user alone; in a group's shared cache, for the group.

    Raises:
        WeightsError: the folder cannot be made or written to, or others can write to it; the message says what to do.
    """
    try:
        _make_levels(Path(os.path.abspath(folder)))
        if not os.access(folder, os.W_OK):  # making a folder that exists succeeds, read-only or not
            raise PermissionError(f"{folder} is read-only")
    except OSError as error:
        raise WeightsError(
            f"cannot write to the cache folder {folder}: {error}. Set {ENVIRONMENT} to a folder you can write to"
        ) from error
    if _is_in_cache(folder):
        check_folder(folder, cache_root())


def _is_in_cache(folder: Path) -> bool:
    root, named = Path(os.path.abspath(cache_root())), Path(os.path.abspath(folder))
    return named == root or root in named.parents


def _make_levels(folder: Path) -> None:
    """Make the missing folders of a path. Folders above the cache get the usual permissions."""
    if folder.is_dir():
        return
    if not _is_in_cache(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return
    is_root = not _is_in_cache(folder.parent)
    if is_root:
        folder.parent.mkdir(parents=True, exist_ok=True)
    else:
        _make_levels(folder.parent)
    shared = not is_root and is_shared(folder.parent)
    folder.mkdir(mode=0o770 if shared else 0o700, exist_ok=True)
    if shared:
        folder.chmod(0o2770)  # the umask may have removed the right to write, which the others of the group need
