"""The lock of a job directory: removed by hand, no two runs write into each other's parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from percepts.errors import JobLocked
from percepts.jobs.storage.directory import JobDirectory
from percepts.jobs.storage.entry import LedgerEntry
from percepts.jobs.storage.owned_files import LOCK
from percepts.jobs.verify import verify
from percepts.tasks.embed import EmbedTask


def opened(path: Path) -> JobDirectory:
    task = EmbedTask.create(["fake-image"])
    return JobDirectory(path, {"task": task.name} | task.settings(), task.specs)


def entry(name: str) -> LedgerEntry:
    return LedgerEntry(name.rjust(32, "0"), f"/{name}", name.rjust(64, "0"), 1, 1, "skipped")


@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_whose_lock_was_removed_writes_nothing_more(tmp_path: Path, replaced: bool) -> None:
    with pytest.raises(JobLocked, match="was removed while this run wrote here"), opened(tmp_path) as directory:
        directory.commit([], [entry("a")])
        (tmp_path / LOCK).unlink()
        if replaced:
            (tmp_path / LOCK).touch()
        directory.commit([], [entry("b")])
    with opened(tmp_path) as directory:
        assert directory.manifest.counts["skipped"] == 1
    assert verify(tmp_path).ok


def test_the_second_run_keeps_what_it_wrote(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.__enter__()
    first.commit([], [entry("a")])
    (tmp_path / LOCK).unlink()
    with opened(tmp_path) as second:
        second.commit([], [entry("b")])
        with pytest.raises(JobLocked):
            first.commit([], [entry("c")])
        second.commit([], [entry("d")])
    first.__exit__()
    with opened(tmp_path) as third:
        assert third.manifest.counts["skipped"] == 3
    assert verify(tmp_path).ok
