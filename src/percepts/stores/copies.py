"""Keep local copies of job directories in object stores, one for each process that reads.

A process keeps its folder until it ends, so no reader removes files that another reader or a run is using. Later
processes take over the folders, and download only what has changed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from ..errors import JobDamaged, JobError
from ..support.files import SUFFIX, atomic_file, hash_file, is_file, remove_file, write_file
from .manifest import MANIFEST, PartInfo, is_part_name, read_manifest

UNCHECKED = ".unchecked"
"""Name of a file in a copy whose parts may differ from its manifest. Their digests are checked before they are used."""


class ReplaceConflict(Exception):
    """A file of a copy that must be replaced while somebody may be reading it."""


# Files of a copy


def find_intact_files(copy: Path, listed: Mapping[str, PartInfo]) -> set[str]:
    """Return the names of the listed files that a copy has already, undamaged."""
    old: Mapping[str, PartInfo] = {}
    with suppress(JobError):  # of a damaged manifest nothing is believed, and every file is hashed
        old = {} if (copy / UNCHECKED).exists() else read_manifest(copy).files
    good = set()
    for name, info in listed.items():
        path = copy / name
        same = is_file(path) and path.stat().st_size == info.bytes  # the size first, since it costs no reading
        # what the manifest of this copy lists was checked when it was downloaded
        if same and (old.get(name) == info or hash_file(path) == info.sha256):
            good.add(name)
    return good


def remove_other_parts(copy: Path, good: Collection[str], *, keep: bool) -> None:
    """Remove the parts of a copy that are not in `good`; nothing with `keep`. Other files are left alone."""
    if keep:
        return
    # through a linked folder the removal would reach files outside the copy
    for name in _list_parts(copy) - set(good):
        _refuse_linked_folders(copy, name)
        remove_file(copy / name)


@contextmanager
def receive_part(copy: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file for a part, which gets its name if the block succeeds. ReplaceConflict where one exists."""
    if not is_part_name(name):
        raise JobDamaged(f"{name!a}: is not the name of a part")
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    _refuse_linked_folders(copy, name)
    # lexists: a link that leads nowhere takes the name, too
    if os.path.lexists(copy / name):
        raise ReplaceConflict(name)
    with atomic_file(copy / name) as file:
        yield file


def install_manifest(copy: Path, manifest: bytes | None, *, unchecked: bool) -> None:
    """Write the manifest, after all files that it lists; or remove it where `manifest` is None."""
    # the mark is written before the manifest and removed after it, so a kill in between leaves the copy marked
    if unchecked:
        write_file(copy / UNCHECKED, b"")
    if manifest is None:
        remove_file(copy / MANIFEST)
    else:
        write_file(copy / MANIFEST, manifest)
    if not unchecked:
        remove_file(copy / UNCHECKED)


def _list_parts(copy: Path) -> set[str]:
    """Return the names of the files in a copy that are parts, or unfinished parts."""
    paths = (path for pattern in ("data/*/part-*", "ledger/part-*") for path in copy.glob(pattern))
    names = {path.relative_to(copy).as_posix() for path in paths if is_file(path)}
    return {name for name in names if is_part_name(name.removesuffix(SUFFIX))}


def _refuse_linked_folders(copy: Path, name: str) -> None:
    folder = copy / name
    while (folder := folder.parent) != copy:
        if folder.is_symlink():
            raise JobError(f"{folder}: is a symbolic link in a copy that percepts keeps; remove it")


# Folders of processes


@dataclass(eq=False)
class _Slot:
    """A folder that only one process uses."""

    folder: Path
    lock: FileLock
    process: int
    busy: bool = False


_slots: dict[tuple[Path, str], list[_Slot]] = {}
_slots_lock = threading.RLock()


def copy_for_reading(bring: Callable[..., None], root: Path) -> Path:
    """Return a copy for reading, brought up to date by `bring`. Copies that were returned before lose no file.

    Args:
        bring: function that updates a folder. It gets `keep=True` where somebody may be reading in the folder.
        root: the folder of all copies of this directory.
    """
    with _slots_lock:  # also while downloading, since two threads must not fill one folder
        # the latest only: in earlier ones a file had to be replaced that may still be read
        for slot in _slots_of_process(root, "read")[-1:]:
            with suppress(ReplaceConflict):  # a file must be replaced while the copy may be in use: take another
                bring(slot.folder, keep=True)
                return slot.folder
        slot = _lock_free_slot(root, "read")
        bring(slot.folder)
        return slot.folder


@contextmanager
def borrow_copy(root: Path) -> Iterator[Path]:
    """Reserve a folder for a copy that nobody reads after the block."""
    with _slots_lock:
        free = [slot for slot in _slots_of_process(root, "verify") if not slot.busy]
        slot = free[0] if free else _lock_free_slot(root, "verify")
        slot.busy = True
    try:
        yield slot.folder
    finally:
        slot.busy = False


def _slots_of_process(root: Path, use: str) -> list[_Slot]:
    """Return the slots of this process, without those that a forked child inherited from its parent."""
    return [slot for slot in _slots.get((root, use), ()) if slot.process == os.getpid()]


def _lock_free_slot(root: Path, use: str) -> _Slot:
    """Lock the first folder that no other process has."""
    root.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        lock = FileLock(root / f"{use}-{number}.lock")
        taken = {slot.folder for slot in _slots.get((root, use), ())}
        if root / f"{use}-{number}" not in taken:
            with suppress(Timeout):
                lock.acquire(timeout=0)  # never released here: the system does so when the process ends
                slot = _Slot(root / f"{use}-{number}", lock, os.getpid())
                _slots.setdefault((root, use), []).append(slot)
                return slot
        number += 1
