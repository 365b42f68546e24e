"""Keep files that percepts made in the cache. Their digest is checked at each use, and a changed file is made again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..support.cache import atomic_cache_path, lock_path, make_folder
from ..support.files import hash_file

log = logging.getLogger(__name__)

ENDING = ".sha256"
"""Ending of the file with the digest, added to the name of the file."""
_digests: dict[Path, tuple[tuple[int, ...], str]] = {}
"""Digests of files hashed in this process, with the state of the file on disk at that time."""


def make_once(path: Path, make: Callable[[Path], None]) -> Path:
    """Return a file that is made at its first use and checked at each later use.

    It is made again where it is absent, cut or changed, or has no digest; `make` writes to a temporary path. Processes
    that come at the same time wait for each other.
    """
    make_folder(path.parent)
    if verified_digest(path):
        return path
    with lock_path(path):
        if verified_digest(path):  # another process made it while this one waited
            return path
        if path.exists():
            log.warning("%s has been changed (its sha256 differs, or is not known); making it again", path)
        with atomic_cache_path(path) as part:
            make(part)
        # after the file: a kill in between leaves one without a digest, which is made again
        with atomic_cache_path(_digest_path(path)) as part:
            part.write_text(hash_file(path))
    return path


def verified_digest(path: Path) -> str:
    """Return the sha256 of a file that `make_once` made; "" where it is absent or has been changed."""
    try:
        expected = _digest_path(path).read_bytes().decode().strip()
        return expected if expected == _hash_once(path) else ""
    except (OSError, ValueError):  # ValueError: the digest is not UTF-8
        return ""


def hash_folder(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a folder, by name."""
    return {path.name: _hash_once(path) for path in sorted(folder.iterdir()) if path.is_file()}


def _hash_once(path: Path) -> str:
    """Return the digest of a file. It is computed once in a process, and again when the file changes."""
    status = path.stat()
    # the time of change (ctime) cannot be set back, while that of modification can
    state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if path not in _digests or _digests[path][0] != state:
        _digests[path] = state, hash_file(path)
    return _digests[path][1]


def write_record(path: Path, facts: Mapping[str, Any]) -> None:
    """Write facts as JSON together with their digest."""
    with atomic_cache_path(path) as part:
        part.write_text(json.dumps({**facts, "sha256": _digest_facts(facts)}, indent=1))


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the facts that `write_record` wrote; None where they are absent, cut or changed."""
    try:
        facts: dict[str, Any] = json.loads(path.read_bytes())
        expected = facts.pop("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return facts if expected == _digest_facts(facts) else None


def _digest_facts(facts: Mapping[str, Any]) -> str:
    # sorted: the digest must not depend on the order in which the facts were given
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _digest_path(path: Path) -> Path:
    return path.with_name(path.name + ENDING)
