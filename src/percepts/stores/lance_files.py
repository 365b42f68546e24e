"""Recognise the files of the search index of a job by name and content, and remove them. LanceDB is not imported."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import JobError
from ..support.files import SUFFIX, file_begins_with, is_file, remove_empty_folder, remove_file

FOLDER = "index"
LEDGER_BEGINNING = b'{\n "dim"'
"""First bytes of the ledger of a table."""
_UUID = r"[0-9a-f]{8}-[0-9a-f-]{27}"  # 27: groups of 4, 4, 4 and 12 digits, with three hyphens
_TABLE_FILE = re.compile(
    rf"data/[0-9a-f-]+\.lance|_versions/(\d+\.manifest|latest_version_hint\.json)|_transactions/\d+-{_UUID}\.txn"
    rf"|_deletions/[0-9-]+\.(arrow|bin)|_indices/{_UUID}/[\w.-]+"
)
"""The names that LanceDB gives to files in the folder of a table."""


def refuse_foreign_index(folder: Path, name: str) -> None:
    """Raise JobError where a file of the user is in the place of the index. Change nothing.

    Raises:
        JobError: there is a link, or a file or folder that percepts did not make; the message says what to do.
    """
    table, ledger = folder / f"{name}.lance", folder / f"{name}.json"
    inside = list(table.iterdir()) if table.is_dir() and not table.is_symlink() else []
    for path in (folder, table, ledger, folder / f"{name}.json{SUFFIX}", folder / f"{name}.lock", *inside):
        if path.is_symlink():
            raise JobError(
                f"{path}: is a symbolic link to {os.readlink(path)}, and no link inside a job directory is followed; "
                "move it away"
            )
    for path in (ledger, ledger.with_name(ledger.name + SUFFIX)):
        # cut: a kill can shorten the temporary file, but not one that was renamed when complete
        if os.path.lexists(path) and not file_begins_with(path, LEDGER_BEGINNING, cut=path != ledger):
            raise JobError(
                f"{path}: was not made by percepts, and the search index has a file by this name; move it away"
            )
    if os.path.lexists(table) and not is_file(ledger):
        raise JobError(
            f"{table}: nothing says that percepts made it, and the search index has a table by this name; move it "
            "away, or remove it if it is of an index that was interrupted"
        )


def erase_table(folder: Path, name: str) -> None:
    """Remove the files that LanceDB made for a table, then empty folders. Links stay."""
    table = folder / f"{name}.lance"
    # from below, so that folders are empty when it is their turn
    for above, _, names in os.walk(table, topdown=False):
        if table.is_symlink():  # os.walk follows a link at its top
            return
        for each in names:
            path = Path(above) / each
            if _TABLE_FILE.fullmatch(path.relative_to(table).as_posix()) and is_file(path):
                remove_file(path)
        remove_empty_folder(Path(above))


def erase_indexes(directory: Path) -> None:
    """Remove the tables of the search index that percepts made, and no other file."""
    folder = directory / FOLDER
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.suffix == ".json" and file_begins_with(path, LEDGER_BEGINNING):
            erase_table(folder, path.stem)
            lock = path.with_suffix(".lock")
            # filelock leaves it empty, so one with content is the user's
            if is_file(lock) and not lock.stat().st_size:
                remove_file(lock)
            remove_file(path)  # last, because without its ledger a table counts as the user's
    remove_empty_folder(folder)
