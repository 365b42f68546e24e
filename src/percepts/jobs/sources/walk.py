"""What the user named in, sources out: folders are walked in order, every file once, whatever the links."""

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
    """One source for a worker: `key` names it within the run, `known` is the sha256 its rows were made from.

    `size` is that of the file in bytes, as far as it is known: small ones travel together. `outcome` is the entry of a
    list or an archive, which is known before anybody opens it again.
    """

    key: int
    uri: str
    size: int
    known: str | None = None
    attempts: int = 0
    outcome: LedgerEntry | None = None


def check_inputs(inputs: Iterable[str | Path]) -> list[str]:
    """The inputs as text; FileNotFoundError where none of them exists, since that is a typing error."""
    named = [os.fspath(item) for item in inputs]
    if not named:
        raise ValueError("expected at least one file or folder to embed, got none")
    if not any(is_url(name) or os.path.lexists(name) or _expand_pattern(name) for name in named):
        raise FileNotFoundError(f"no such file or folder: {', '.join(named[:3])}{' …' if len(named) > 3 else ''}")
    return named


def _expand_pattern(name: str) -> bool:
    return split_member(name) is not None or (is_glob(name) and any(glob.iglob(name, recursive=True)))


Through = Callable[[str, MediaError | OSError | None], bool]
"""Called with the path of a list or a container when its end is reached, and what is wrong with it. Returns whether it
is to be a source itself, so that it gets its row in the ledger."""


def find_sources(
    inputs: Iterable[str], *, leave_out: Path, through: Through | None = None, stores: bool = True
) -> Iterator[str]:
    """Every file below the inputs, as absolute paths, and every URL; `leave_out` (the output) is not walked.

    Patterns, lists, and what holds many sources are taken apart first, where they are named outright.

    Names that begin with a dot are left out inside folders. A folder that cannot be listed is yielded itself, so
    that it gets its row in the ledger. Linked folders are followed, each real folder once. What is wrong with a list or
    a container ends that one alone, after what came before the damage, and `through` is told; it is raised without.
    With `stores` off, object stores are not asked what they hold.
    """
    named = list(inputs)
    found = _find_below(named, os.path.realpath(leave_out), through or _raise_wrong, stores)
    if len(named) == 1 and os.path.isdir(named[0]) and expand_input(named[0]) is None:
        yield from found  # the walk of one folder meets each path once: no need to remember a million
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
    """16 bytes for a name: a million of them fit where the names would not."""
    return blake2b(os.fsencode(uri), digest_size=16).digest()


def printable_name(uri: str) -> str:
    r"""The name as valid Unicode: bytes that are none are written \xNN, since Arrow and JSON hold text only."""
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
    """What a folder holds, by name; nothing where a link has led to it before."""
    status = os.stat(path)
    if (place := (status.st_dev, status.st_ino)) in folders:
        return []
    folders.add(place)
    with os.scandir(path) as found:
        return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Asks the system only about links: the listing knows the rest, and a million questions take minutes."""
    try:
        return entry.is_dir()
    except OSError:
        return False
