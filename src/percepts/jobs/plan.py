"""What the user named in, sources out: folders are walked in order, every file once, whatever the links."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ..media import is_url
from .containers import split
from .inputs import expanded, is_glob


@dataclass(frozen=True, slots=True)
class Order:
    """One source for a worker: `key` names it within the run, `known` is the sha256 its rows were made from.

    `size` is that of the file in bytes, as far as it is known: small ones travel together.
    """

    key: int
    uri: str
    size: int
    known: str | None = None
    attempts: int = 0


def check_inputs(inputs: Iterable[str | Path]) -> list[str]:
    """The inputs as text; FileNotFoundError where none of them exists, since that is a typing error."""
    named = [os.fspath(item) for item in inputs]
    if not named:
        raise ValueError("expected at least one file or folder to embed, got none")
    if not any(is_url(name) or os.path.lexists(name) or _matches(name) for name in named):
        raise FileNotFoundError(f"no such file or folder: {', '.join(named[:3])}{' …' if len(named) > 3 else ''}")
    return named


def _matches(name: str) -> bool:
    return split(name) is not None or (is_glob(name) and any(glob.iglob(name, recursive=True)))


def sources(inputs: Iterable[str], *, leave_out: Path) -> Iterator[str]:
    """Every file below the inputs, as absolute paths, and every URL; `leave_out` (the output) is not walked.

    Patterns, lists, and what holds many sources are taken apart first, where they are named outright.

    Names that begin with a dot are left out inside folders. A folder that cannot be listed is yielded itself, so
    that it gets its row in the ledger. Linked folders are followed, each real folder once.
    """
    named = list(inputs)
    found = _found(named, os.path.realpath(leave_out))
    if len(named) == 1 and os.path.isdir(named[0]) and expanded(named[0]) is None:
        yield from found  # the walk of one folder meets each path once: no need to remember a million
        return
    seen: set[bytes] = set()
    for uri in found:
        if (mark := fingerprint(uri)) not in seen:
            seen.add(mark)
            yield uri


def _found(inputs: Iterable[str], out: str) -> Iterator[str]:
    folders: set[tuple[int, int]] = set()
    for item in inputs:
        for name in [item] if (several := expanded(item)) is None else several:
            yield from [name] if is_url(name) else _below(os.path.abspath(name), folders, out)


def fingerprint(uri: str) -> bytes:
    """16 bytes for a name: a million of them fit where the names would not."""
    return blake2b(os.fsencode(uri), digest_size=16).digest()


def printable(uri: str) -> str:
    r"""The name as valid Unicode: bytes that are none are written \xNN, since Arrow and JSON hold text only."""
    return os.fsencode(uri).decode("utf-8", "backslashreplace")


def _below(path: str, folders: set[tuple[int, int]], out: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
    elif os.path.realpath(path) != out:
        try:
            entries = _listed(path, folders)
        except OSError:
            entries = None
        if entries is None:
            yield path
        for entry in entries or ():
            yield from _below(entry.path, folders, out) if _is_folder(entry) else (entry.path,)


def _listed(path: str, folders: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
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
