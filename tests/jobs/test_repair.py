"""Damage of every kind: found by name, never taken for whole, and mended by doing again exactly what it touched."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import Photos, ledger, rows
from toytasks import Colours
from typer.testing import CliRunner

from percepts.cli import app
from percepts.errors import JobDamaged, JobError, PerceptsError
from percepts.jobs import loop as loop_module
from percepts.jobs.repair import repair
from percepts.jobs.run import embed, run
from percepts.jobs.verify import verify
from percepts.jobs.workers import worker as worker_module

MODEL = "fake-image"


@pytest.fixture
def whole(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve pictures in three parts, one of them not there any more by the time of the ledger's end."""
    monkeypatch.setattr(loop_module, "ROWS_A_PART", 4)
    monkeypatch.setattr(worker_module, "MESSAGE_SECONDS", 0.0)  # or all of it is one message, and one part
    embed([photos(12), tmp_path / "gone.png"], tmp_path / "v", models=[MODEL], workers=0, batch_size=4)
    return tmp_path / "v"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "flipped": flip,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("folder", ["data/fake-image", "ledger"])
def test_a_damaged_part_is_mended_and_the_others_are_left_alone(whole: Path, damage: str, folder: str) -> None:
    before, names = rows(whole, MODEL), ledger(whole).keys()
    parts = sorted((whole / folder).glob("part-*.parquet"))
    assert len(parts) >= 3
    kept = {path: path.stat().st_mtime_ns for path in parts if path != parts[1]}
    DAMAGE[damage](parts[1])
    assert any(parts[1].name in problem for problem in verify(whole).problems)
    done = repair(whole, workers=0)
    assert done.verdict.ok, done.verdict.problems
    assert done.files == (parts[1].relative_to(whole).as_posix(),)
    assert done.report is not None and done.report.done == len(done.sources) == 4
    assert rows(whole, MODEL) == before and ledger(whole).keys() == names
    assert {path: path.stat().st_mtime_ns for path in kept if path.exists()} == {
        path: when for path, when in kept.items() if path.exists()
    }
    assert repair(whole, workers=0).sources == ()


def test_a_lost_manifest_is_made_again_from_the_parts(whole: Path) -> None:
    before, entries = rows(whole, MODEL), ledger(whole)
    (whole / "manifest.json").unlink()
    done = repair(whole, workers=0)
    assert done.verdict.ok and done.sources == ()
    assert rows(whole, MODEL) == before and ledger(whole) == entries
    again = embed(whole.parent / "photos", whole, models=[MODEL], workers=0)
    assert (again.done, again.unchanged) == (0, 12)


def test_what_a_killed_commit_left_is_no_second_truth(whole: Path) -> None:
    before = rows(whole, MODEL)
    first = whole / "data" / MODEL / "part-000000.parquet"
    shutil.copy(first, first.with_name("part-000077.parquet"))
    (whole / "manifest.json").unlink()
    done = repair(whole, workers=0)
    assert done.verdict.ok and len(done.sources) == 4
    assert rows(whole, MODEL) == before


def test_nothing_left_to_go_by_is_said(whole: Path, tmp_path: Path) -> None:
    (whole / "manifest.json").unlink()
    shutil.rmtree(whole / "ledger")
    with pytest.raises(JobDamaged, match="no part of the ledger"):
        repair(whole)
    with pytest.raises(JobError, match="not a directory that a job wrote"):
        repair(tmp_path / "nowhere")


def test_a_manifest_that_is_cut_is_named(whole: Path) -> None:
    (whole / "manifest.json").write_bytes((whole / "manifest.json").read_bytes()[:-9])
    with pytest.raises(JobDamaged, match=r"manifest\.json"):
        verify(whole)
    assert repair(whole, workers=0).verdict.ok


def test_sources_of_a_task_that_is_not_known_here_are_done_by_its_next_run(photos: Photos, tmp_path: Path) -> None:
    folder = photos(4)
    run(Colours(), folder, tmp_path / "v", workers=0)
    flip(next((tmp_path / "v" / "data").rglob("*.parquet")))
    done = repair(tmp_path / "v")
    assert done.report is None and len(done.sources) == 4 and done.verdict.ok
    assert {entry["error"] for entry in ledger(tmp_path / "v").values()} == {"JobDamaged"}
    assert run(Colours(), folder, tmp_path / "v", workers=0).done == 4


def test_a_model_that_loads_but_cannot_run_costs_no_row(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, flag = tmp_path / "v", tmp_path / "flag"
    monkeypatch.setenv("PERCEPTS_TEST_FLAG", str(flag))
    embed(photos(4), out, models=["test-unusable"], workers=0)
    before = rows(out, "test-unusable")
    flip(next((out / "ledger").rglob("*.parquet")))
    held = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    flag.touch()
    with pytest.raises(JobError, match=r"nothing was removed.*test-unusable cannot be run.*no kernel image"):
        repair(out, workers=0)
    assert {path: path.read_bytes() for path in held} == held
    flag.unlink()
    done = repair(out, workers=0)
    assert done.verdict.ok and len(done.sources) == 4
    assert rows(out, "test-unusable") == before


def test_the_command_mends_and_says_what(whole: Path) -> None:
    part = sorted((whole / "data").rglob("*.parquet"))[1]
    flip(part)
    found = CliRunner().invoke(app, ["verify", str(whole), "--json"])
    assert found.exit_code == 1 and part.name in json.loads(found.stdout)["problems"][0]
    done = CliRunner().invoke(app, ["verify", str(whole), "--repair", "--workers", "0"])
    assert done.exit_code == 0, done.output
    assert "processed again" in done.stderr and "intact" in done.stdout


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A file system of its own, which may be full or read-only; skipped where mounting is not permitted."""
    place = tmp_path / "disk"
    place.mkdir()

    def mounted(options: str) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(place)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
        return place

    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    yield mounted
    subprocess.run(["umount", str(place)], capture_output=True)


def test_a_full_disk_stops_the_run_and_loses_nothing(
    photos: Photos, tmp_path: Path, tiny_disk: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "ROWS_A_PART", 4)
    monkeypatch.setattr(worker_module, "MESSAGE_SECONDS", 0.0)  # or all of it is one message, and one part
    folder, out = photos(40), tiny_disk("size=128k") / "v"
    with pytest.raises(OSError) as full:
        embed(folder, out, models=[MODEL], workers=0, batch_size=4)
    assert full.value.errno == errno.ENOSPC
    done = ledger(out)
    assert 0 < len(done) < 40
    tiny_disk("remount,size=8m")
    assert embed(folder, out, models=[MODEL], workers=0).unchanged == len(done)
    embed(folder, tmp_path / "whole", models=[MODEL], workers=0)
    assert rows(out, MODEL) == rows(tmp_path / "whole", MODEL)
    assert verify(out).ok


def test_an_output_that_cannot_be_written_is_said_at_once(photos: Photos, tiny_disk: Callable[..., Path]) -> None:
    folder, place = photos(3), tiny_disk("size=1m")
    embed(folder, place / "v", models=[MODEL], workers=0)
    tiny_disk("remount,ro")
    with pytest.raises(OSError) as refused:
        embed(folder, place / "new", models=[MODEL], workers=0)
    assert refused.value.errno == errno.EROFS
    with pytest.raises(OSError):
        embed(photos(5), place / "v", models=[MODEL], workers=0)
    assert verify(place / "v").ok  # which reads only


def test_rows_that_the_manifest_counts_wrong_are_told(photos: Photos, tmp_path: Path) -> None:
    embed(photos(4), tmp_path / "v", models=[MODEL], workers=0)
    path = tmp_path / "v" / "manifest.json"
    path.write_text(path.read_text().replace('"rows": 4,', '"rows": 5,'))
    assert f"data/{MODEL}/part-000000.parquet: 4 rows, expected 5" in verify(tmp_path / "v").problems
    path.write_text(path.read_text().replace('"next_part": 1', '"next_part": 0'))
    with pytest.raises(JobDamaged, match="next_part"):
        verify(tmp_path / "v")


def _renamed(table: pa.Table) -> pa.Table:
    return table.rename_columns(["address" if name in ("uri", "source") else name for name in table.column_names])


def _filled(name: str, value: Any) -> Callable[[pa.Table], pa.Table]:
    def fill(table: pa.Table) -> pa.Table:
        if name not in table.column_names:
            return table.append_column("more", pa.array([1] * len(table)))
        return table.set_column(table.column_names.index(name), name, pa.array([value] * len(table)))

    return fill


@pytest.mark.parametrize("folder", ["ledger", f"data/{MODEL}"])
@pytest.mark.parametrize(
    "change",
    [_renamed, _filled("uri", None), _filled("uri", 5), _filled("source", None), _filled("start", None),
     _filled("sha256", "zz"), _filled("status", "fine"), _filled("rows", -1), _filled("size", "x")],
)  # fmt: skip
def test_a_table_of_a_stranger_with_the_right_digest_is_an_error_and_no_traceback(
    photos: Photos, tmp_path: Path, folder: str, change: Callable[[pa.Table], pa.Table]
) -> None:
    out = tmp_path / "v"
    embed(photos(3), out, models=[MODEL], workers=0)
    path, manifest = out / folder / "part-000000.parquet", out / "manifest.json"
    table = pq.read_table(path, partitioning=None)
    pq.write_table(change(table), path, write_page_checksum=True)
    raw = json.loads(manifest.read_text())
    part = raw["parts"][0]
    info = part["ledger"] if folder == "ledger" else part["data"][MODEL]
    info |= {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps(raw))
    harmless = change(table).column_names[-1] == "more"  # this one has no such column
    assert verify(out).ok == harmless
    for command in (["embed", str(photos(3)), "-m", MODEL, "-o", str(out)], ["search", str(out), "red"]):
        result = CliRunner().invoke(app, command)
        assert isinstance(result.exception, PerceptsError | SystemExit | None)
    assert repair(out, workers=0).verdict.ok
