"""Walk the inputs of a job and yield every file once, in order, whatever links there are."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ...errors import MediaError
from ...media import is_url
from ...stores.remote import is_remote
from ..storage.entry import LedgerEntry
from .containers import absolute_name, split_member
from .expand import expand_input, is_glob


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A source for a worker to process.

    key        its number within the run
    uri        absolute path or URL
    size       of the file in bytes, as far as it is known; small files travel to a worker together
    known      the sha256 of the bytes that its rows were made from; None if it has none
    attempts   workers that have died on it so far
    outcome    the ledger entry of a list or an archive, which is known before a worker opens it
    """

    key: int
    uri: str
    size: int
    known: str | None = None
    attempts: int = 0
    outcome: LedgerEntry | None = None


def check_inputs(inputs: Iterable[str | Path]) -> list[str]:
    """Return the inputs as text; raise FileNotFoundError if none of them exists, which is a typing error."""
    named = [os.fspath(item) for item in inputs]
    if not named:
        raise ValueError("expected at least one file or folder to embed, got none")
    if not any(is_url(name) or os.path.lexists(name) or _expand_pattern(name) for name in named):
        raise FileNotFoundError(f"no such file or folder: {', '.join(named[:3])}{' …' if len(named) > 3 else ''}")
    return named


def _expand_pattern(name: str) -> bool:
    return split_member(name) is not None or (is_glob(name) and any(glob.iglob(name, recursive=True)))


Through = Callable[[str, MediaError | OSError | None], bool]
"""Called with the path of a list or container at its end, and the error that ended it, if any. Returns whether it
becomes a source itself, so that it gets an entry in the ledger."""


def find_sources(
    inputs: Iterable[str], *, leave_out: Path, through: Through | None = None, stores: bool = True
) -> Iterator[str]:
    """Yield every file below the inputs as an absolute path, and every URL; `leave_out` (the output) is not walked.

    Patterns, lists and containers among the inputs are expanded; those inside a folder are not.

    Names that begin with a dot are left out inside folders. A folder that cannot be listed is yielded itself, so
    that it gets an entry in the ledger. Linked folders are followed, each real folder once. Damage ends only the list
    or container that it is in, after the sources before it, and `through` receives the error; without `through` it is
    raised. With `stores` off, object stores are not asked what they hold.
    """
    named = list(inputs)
    found = _find_below(named, os.path.realpath(leave_out), through or _raise_wrong, stores)
    if len(named) == 1 and os.path.isdir(named[0]) and expand_input(named[0]) is None:
        yield from found  # one folder has each path once, so a million names need not be remembered
        return
    seen: set[bytes] = set()
    for uri in found:
        if (mark := fingerprint_name(uri)) not in seen:
            seen.add(mark)
            yield uri


def _find_below(inputs: Iterable[str], out: str, through: Through, stores: bool) -> Iterator[str]:
    folders: set[tuple[int, int]] = set()
    for item in inputs:
        several, wrong = None, None
        try:
            several = expand_input(item, stores=stores)
            for name in [item] if several is None else several:
                if is_url(name):
                    yield name
                elif split_member(name):
                    yield absolute_name(name)
                else:
                    yield from _walk_folder(os.path.abspath(name), folders, out)
        except (MediaError, OSError) as error:
            # A store that cannot be listed ends the run: there is no file to write an entry for.
            if is_remote(item):
                raise
            wrong = error
        if (wrong or several) and not is_remote(item) and not is_glob(item) and through(os.path.abspath(item), wrong):
            yield os.path.abspath(item)


def _raise_wrong(path: str, wrong: MediaError | OSError | None) -> bool:
    if wrong is not None:
        raise wrong
    return False


def fingerprint_name(uri: str) -> bytes:
    """Return a name's fingerprint of 16 bytes, since a million names would need too much memory."""
    return blake2b(os.fsencode(uri), digest_size=16).digest()


def printable_name(uri: str) -> str:
    r"""Return a name as valid Unicode, other bytes as \xNN, since Arrow and JSON hold only text."""
    return os.fsencode(uri).decode("utf-8", "backslashreplace")


def _walk_folder(path: str, folders: set[tuple[int, int]], out: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
    elif os.path.realpath(path) != out:
        try:
            entries = _list_folder(path, folders)
        except OSError:
            entries = None
        if entries is None:
            yield path
        for entry in entries or ():
            yield from _walk_folder(entry.path, folders, out) if _is_folder(entry) else (entry.path,)


def _list_folder(path: str, folders: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    """Return what a folder holds, by name; nothing if a link led to it before."""
    status = os.stat(path)
    # The numbers of the folder itself, whatever links lead to it; a link to a parent would never end.
    if (place := (status.st_dev, status.st_ino)) in folders:
        return []
    folders.add(place)
    with os.scandir(path) as found:
        # The order of the system differs from machine to machine.
        return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, without an error for one that is gone."""
    try:
        # The listing knows this but for links; os.path.isdir would ask the system a million times, for minutes.
        return entry.is_dir()
    except OSError:
        return False
