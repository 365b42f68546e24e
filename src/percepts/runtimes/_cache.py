"""Where percepts keeps what it fetched or made: one folder per user, every file written whole or not at all."""

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
from ..support.files import atomic_path

ENVIRONMENT = "PERCEPTS_CACHE"


def cache_dir() -> Path:
    """The folder named by PERCEPTS_CACHE, else the platform's cache folder for this user. May not exist yet."""
    named = os.environ.get(ENVIRONMENT)
    return Path(named).expanduser() if named else platformdirs.user_cache_path("percepts", appauthor=False)


@cache
def processor() -> str:
    """Eight digits for the processor and its instructions: what was measured on another may not hold here.

    Clusters share the folder between machines, and the name alone says little: one "AMD EPYC" multiplies 8-bit integers
    four times as fast as floats, another no faster.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        said = [
            next((line for line in lines if line.startswith(key)), "") for key in ("model name", "flags", "Features")
        ]
    except OSError:
        said = [platform.processor()]
    return hashlib.sha256("|".join([platform.machine(), *said]).encode()).hexdigest()[:8]


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the name `path` if the body succeeds, else it is removed."""
    make_folder(path.parent)
    with atomic_path(path, permissions=0o600) as part:
        yield part


def locked(path: Path) -> filelock.BaseFileLock:
    """A lock that processes making the same `path` take in turn; the system frees it when its holder dies."""
    make_folder(path.parent)
    return filelock.FileLock(path.with_name(path.name + ".lock"))


def make_folder(folder: Path) -> None:
    """Make a folder of the cache. Raises WeightsError, with the cure, where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} is read-only")
    except OSError as error:
        raise WeightsError(
            f"cannot write to the cache folder {folder}: {error}. Set {ENVIRONMENT} to a folder you can write to"
        ) from error
