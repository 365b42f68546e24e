"""Recognise by name and content the files that percepts makes in a job directory.

Only these are ever removed or replaced. Everything else belongs to the user and stays as it is; if it is in the way,
the job is refused.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

from ...errors import JobDamaged, JobError
from ...stores.lance_files import FOLDER as INDEX
from ...stores.manifest import MANIFEST
from ...stores.parquet import OURS
from ...support.files import SUFFIX, file_begins_with, is_file, remove_file, safe_name

LOCK = ".lock"
STATS = "stats.json"
STALLED = "stalled.json"
"""Names the sources of the batch at which a run hung and had to be ended."""
SHARDS = "shards"
LISTED = "formats.jsonl"
"""Lists the files that `--format` made, each with its digest."""
HEADER = b'{"percepts": "files made by --format", "schema": 1}\n'
"""First line of the file LISTED."""

_PART = re.compile(r"part-\d{6,}\.parquet(\.tmp)?")
_PARTS = {"data": "*/part-*", "ledger": "part-*"}
_BEGINNINGS = {
    MANIFEST + SUFFIX: b'{\n "fingerprint"',
    STATS: b'{\n "output"',
    STATS + SUFFIX: b'{\n "output"',
    STALLED + SUFFIX: b"[",
    LOCK: b"process ",
    LISTED: HEADER,
    LISTED + SUFFIX: HEADER,
}
"""First bytes of the small files of a job, by which a user's file of the same name is recognised."""
_SHOWN = 3


def refuse_foreign(directory: Path, formats: Iterable[str]) -> None:
    """Refuse a directory in which a file of the user has a name that a job writes to. Change nothing.

    Args:
        directory: the directory of a job that exists or will be made; it may itself be a link.
        formats: names of the folders for files of other formats.

    Raises:
        JobError: a link, or a file that percepts did not make, has such a name; the message says what to do.
    """
    names = (*_BEGINNINGS, MANIFEST, STALLED, *OURS, INDEX, SHARDS, *formats)
    for path in (*(directory / name for name in names), *_list_folder(directory / "data")):
        refuse_link(path)
    for name in (*OURS, *formats):
        if os.path.lexists(directory / name) and not (directory / name).is_dir():
            raise JobError(f"{directory / name}: a job keeps a folder of this name, and this is a file; move it away")
    for name in _BEGINNINGS:
        _refuse_other(directory / name)
    if os.path.lexists(directory / STALLED) and not is_stalled(directory / STALLED):
        _refuse(directory / STALLED)


def refuse_link(path: Path) -> None:
    """Raise JobError if a path is a link, since a job keeps a file or folder of its own under that name."""
    if path.is_symlink():
        raise JobError(
            f"{path}: is a symbolic link to {os.readlink(path)}; its target may not belong to this job, so no "
            "link inside a job directory is followed. Nothing was changed. To keep a job on another disk, make "
            "the job directory itself a link; otherwise move the link away"
        )


def refuse_occupied(directory: Path) -> None:
    """Refuse a directory without a manifest if its `data` or `ledger` hold anything. Change nothing.

    Raises:
        JobDamaged: they hold parts of a job.
        JobError: they hold files that no job made.
    """
    # Parts come first: they may be repaired, and the advice differs from that for files of the user.
    if left := [folder for folder in OURS if any(map(_is_part, (directory / folder).glob(_PARTS[folder])))]:
        raise JobDamaged(
            f"{directory}: {' and '.join(left)} hold parts and {MANIFEST} is gone, so nothing says which of them "
            f"are complete; restore it, or rebuild it from them with `percepts verify {directory} --repair`"
        )
    for folder in OURS:
        if names := list(islice(_walk_files(directory / folder), _SHOWN + 1)):
            raise JobError(
                f"{directory / folder}: holds files that no job made ({_format_names(names)}), and a job would "
                "keep its own in this folder. Nothing was changed. Choose a directory that is new or empty, "
                f"for example -o {directory / 'percepts'}"
            )


def parts_made(directory: Path, models: Iterable[str]) -> Iterator[str]:
    """Yield the names of the parts that a job of these models made, including those that a killed run left."""
    for folder in (*(f"data/{safe_name(model)}" for model in models), "ledger"):
        for path in sorted(_list_folder(directory / folder)):
            if _is_part(path) and is_file(path):
                yield f"{folder}/{path.name}"


def remove_parts(directory: Path, models: Iterable[str], keep: Collection[str] = ()) -> None:
    """Remove the parts that a job made, except those to keep; links and all other files stay."""
    for name in list(parts_made(directory, models)):
        if name not in keep:
            remove_file(directory / name)


def is_stalled(path: Path) -> bool:
    """Return whether a file is a list of sources, as a run that hung writes it."""
    try:
        found = json.loads(path.read_bytes()) if is_file(path) else None
    except (OSError, ValueError):
        return False
    return isinstance(found, list) and all(isinstance(name, str) for name in found)


def _refuse_other(path: Path) -> None:
    """Refuse a file that does not begin as percepts begins it; one that a kill cut short counts as made by percepts."""
    if not os.path.lexists(path):
        return
    # These are written in place or appended to, so a kill may leave only their first bytes.
    cut = path.suffix == SUFFIX or path.name in (LOCK, LISTED)
    if not file_begins_with(path, _BEGINNINGS[path.name], cut=cut):
        _refuse(path)


def _refuse(path: Path) -> None:
    raise JobError(
        f"{path}: was not made by percepts, and a job keeps a file of its own by this name. Nothing was changed. "
        "Move it away, or choose another directory"
    )


def _is_part(path: Path) -> bool:
    return _PART.fullmatch(path.name) is not None


def _walk_files(folder: Path) -> Iterator[str]:
    """Yield the names of all files below a folder, those that begin with a dot left out; follow no link."""
    for above, _, names in os.walk(folder) if not folder.is_symlink() else ():
        for name in sorted(names):
            if not name.startswith("."):
                yield (Path(above) / name).relative_to(folder).as_posix()


def _list_folder(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir()) if not folder.is_symlink() else []
    except (FileNotFoundError, NotADirectoryError):
        return []


def _format_names(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
