from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from tables import Photos, ledger, rows

from percepts.errors import JobDamaged, JobLocked, SettingsDiffer, UnknownModel
from percepts.jobs import loop as loop_module
from percepts.jobs.repair import repair
from percepts.jobs.run import embed
from percepts.jobs.storage.directory import JobDirectory
from percepts.jobs.verify import verify
from percepts.jobs.workers import pool as workers_module
from percepts.tasks.embed import EmbedTask

HERE = Path(__file__).parent


def run(inputs: object, out: Path, model: str = "fake-image", workers: int = 0, **more: object):  # type: ignore[no-untyped-def]
    return embed(inputs, out, models=[model], workers=workers, **more)  # type: ignore[arg-type]


def test_every_source_has_its_rows_and_one_entry(photos: Photos, tmp_path: Path) -> None:
    folder = photos(12)
    report = run(folder, tmp_path / "v")
    assert (report.done, report.failed, report.rows) == (12, 0, 12)
    assert len(rows(tmp_path / "v", "fake-image")) == 12
    assert {e["status"] for e in ledger(tmp_path / "v").values()} == {"ok"}
    assert verify(tmp_path / "v").ok


def test_processes_give_what_one_process_gives(photos: Photos, tmp_path: Path) -> None:
    folder = photos(30)
    run(folder, tmp_path / "a")
    run(folder, tmp_path / "b", workers=2, batch_size=7)
    assert rows(tmp_path / "a", "fake-image") == rows(tmp_path / "b", "fake-image")


def test_a_second_run_does_nothing_and_a_third_only_what_is_new(photos: Photos, tmp_path: Path) -> None:
    folder = photos(5)
    run(folder, tmp_path / "v")
    again = run(folder, tmp_path / "v")
    assert (again.done, again.unchanged) == (0, 5)
    photos(8)
    more = run(folder, tmp_path / "v")
    # photos(8) draws other colours for the first five: new bytes under old names
    assert (more.done, more.unchanged) == (8, 0)
    assert len(rows(tmp_path / "v", "fake-image")) == 8
    assert verify(tmp_path / "v").ok


def test_a_touched_file_is_read_but_not_done_again(photos: Photos, tmp_path: Path) -> None:
    folder = photos(3)
    run(folder, tmp_path / "v")
    os.utime(folder / "0001.png", (1, 1))
    assert run(folder, tmp_path / "v").unchanged == 3


def test_rows_of_a_changed_file_are_replaced(photos: Photos, tmp_path: Path) -> None:
    folder = photos(3)
    run(folder, tmp_path / "v")
    before = rows(tmp_path / "v", "fake-image")
    Image.new("RGB", (30, 30), (0, 0, 255)).save(folder / "0001.png")
    assert run(folder, tmp_path / "v").done == 1
    after = rows(tmp_path / "v", "fake-image")
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {("0001.png", 0.0)}
    assert verify(tmp_path / "v").ok


@pytest.mark.parametrize("model", ["test-raising", "test-notfinite"])
def test_a_poison_picture_costs_only_itself(photos: Photos, tmp_path: Path, model: str) -> None:
    folder = photos(40, red=(17,))
    report = run(folder, tmp_path / "v", model, batch_size=32)
    assert (report.done, report.failed) == (39, 1)
    entry = ledger(tmp_path / "v")["0017.png"]
    assert (entry["status"], entry["stage"]) == ("error", "encode")
    shutil.move(folder / "0017.png", tmp_path / "elsewhere.png")
    run(folder, tmp_path / "clean", model, batch_size=5)
    assert rows(tmp_path / "v", model) == rows(tmp_path / "clean", model)
    assert verify(tmp_path / "v").ok


def test_batches_shrink_to_what_fits_in_memory(photos: Photos, tmp_path: Path) -> None:
    report = run(photos(40), tmp_path / "v", "test-small", batch_size=32)
    assert (report.done, report.failed) == (40, 0)


def test_failed_sources_alone_are_tried_again(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    monkeypatch.setenv("PERCEPTS_TEST_FLAG", str(flag))
    folder = photos(6, red=(2,))
    assert run(folder, tmp_path / "v", "test-flaky").failed == 1
    second = run(folder, tmp_path / "v", "test-flaky")
    assert (second.unchanged, second.failed_before) == (6, 1)
    flag.unlink()
    third = run([], tmp_path / "v", "test-flaky", retry_failed=True)
    assert (third.done, third.failed) == (1, 0)
    assert len(rows(tmp_path / "v", "test-flaky")) == 6
    assert {e["status"] for e in ledger(tmp_path / "v").values()} == {"ok"}
    assert verify(tmp_path / "v").ok


def test_a_worker_that_dies_is_replaced_and_its_file_marked(photos: Photos, tmp_path: Path) -> None:
    report = run(photos(20, red=(3, 11)), tmp_path / "v", "test-aborting", workers=2)
    assert (report.done, report.failed) == (18, 2)
    entry = ledger(tmp_path / "v")["0011.png"]
    assert (entry["error"], entry["stage"], entry["attempts"]) == ("WorkerDied", "decode", 2)
    assert "exited with 134" in entry["message"]
    assert verify(tmp_path / "v").ok


def test_a_worker_that_hangs_is_replaced(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "SILENCE", 1.5)
    report = run(photos(8, red=(5,)), tmp_path / "v", "test-hanging", workers=2)
    assert (report.done, report.failed) == (7, 1)
    assert "gave no sign" in ledger(tmp_path / "v")["0005.png"]["message"]


def test_what_a_worker_prints_is_not_the_jobs_answer(
    photos: Photos, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(photos(3), tmp_path / "v", "test-talking", workers=1).done == 3
    assert "hello" not in capfd.readouterr().out


def test_rows_of_a_worker_that_died_in_mid_file_do_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = tmp_path / "long.wav"
    soundfile.write(sound, np.random.default_rng(0).normal(0, 0.1, 8000 * 60).astype(np.float32), 8000)
    flag = tmp_path / "flag"
    flag.touch()
    monkeypatch.setenv("PERCEPTS_TEST_FLAG", str(flag))
    monkeypatch.setattr(loop_module, "ROWS_A_PART", 10)  # so that rows of the first attempt are on disk already
    report = run(sound, tmp_path / "v", "test-dyinglate", workers=1, batch_size=4)
    assert (report.done, report.rows) == (1, 60)
    assert not flag.exists()
    assert ledger(tmp_path / "v")["long.wav"]["attempts"] == 2
    assert len(rows(tmp_path / "v", "test-dyinglate")) == 60
    assert verify(tmp_path / "v").ok


def test_other_settings_are_refused_by_name(photos: Photos, tmp_path: Path) -> None:
    folder = photos(2)
    run(folder, tmp_path / "v")
    with pytest.raises(SettingsDiffer, match=r"fps: 1\.0 → 2\.0"):
        run(folder, tmp_path / "v", fps=2.0)
    with pytest.raises(SettingsDiffer, match=r"models\.test-slow"):
        run(folder, tmp_path / "v", "test-slow")
    assert run(folder, tmp_path / "v", fps=2.0, overwrite=True).done == 2
    assert verify(tmp_path / "v").ok


def test_two_runs_on_one_directory(photos: Photos, tmp_path: Path) -> None:
    folder = photos(2)
    run(folder, tmp_path / "v")
    task = EmbedTask.create(["fake-image"])
    with (
        JobDirectory(tmp_path / "v", task.settings(), task.specs),
        pytest.raises(JobLocked, match=f"process {os.getpid()}"),
    ):
        run(folder, tmp_path / "v")
    assert run(folder, tmp_path / "v").unchanged == 2


def test_names_that_do_not_exist(photos: Photos, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="photoss"):
        run(tmp_path / "photoss", tmp_path / "v")
    assert not (tmp_path / "v").exists()
    with pytest.raises(UnknownModel, match="fake-image"):
        run(photos(1), tmp_path / "v", "fake-imag")
    report = run([photos(1), tmp_path / "gone.png"], tmp_path / "v")
    assert (report.done, report.failed) == (1, 1)
    assert ledger(tmp_path / "v")["gone.png"]["error"] == "FileNotFoundError"


def test_each_file_once_whatever_the_way_to_it(photos: Photos, tmp_path: Path) -> None:
    folder = photos(3)
    (folder / "loop").symlink_to(folder)
    (folder / "itself").symlink_to(folder / "itself")
    (folder / ".hidden.png").write_bytes(b"x")
    report = run([folder, folder / "0001.png", folder], folder / "out")
    assert (report.done, report.failed) == (3, 1)  # the link to itself has its entry too
    again = run([folder], folder / "out")
    assert again.unchanged + again.failed == 4  # the output inside the input is not walked


def test_what_is_no_media_is_skipped_or_an_error_by_what_its_name_promises(photos: Photos, tmp_path: Path) -> None:
    folder = photos(1)
    (folder / "notes.txt").write_text("hello")
    (folder / "hello.jpg").write_text("hello")
    (folder / "dir.jpg").mkdir()
    os.mkfifo(folder / "pipe")
    report = run(folder, tmp_path / "v")
    assert (report.done, report.failed, report.skipped) == (1, 1, 2)
    assert ledger(tmp_path / "v")["hello.jpg"]["stage"] == "probe"


def test_a_model_that_does_not_take_a_medium_says_so(photos: Photos, tmp_path: Path) -> None:
    report = run(photos(1), tmp_path / "v", "fake-audio")
    assert report.skipped == 1
    assert "fake-audio takes audio" in ledger(tmp_path / "v")["0000.png"]["message"]


def test_ctrl_c_leaves_a_directory_to_resume_from(photos: Photos, tmp_path: Path) -> None:
    folder = photos(400)
    process = start(folder, tmp_path / "v")
    wait_for_rows(tmp_path / "v", process)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    done = ledger(tmp_path / "v")
    assert 0 < len(done) < 400
    report = run(folder, tmp_path / "v", "test-slow")
    assert (report.done, report.unchanged) == (400 - len(done), len(done))
    assert verify(tmp_path / "v").ok


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2, 0.4])
def test_kill_and_resume_equals_a_run_that_was_never_killed(photos: Photos, tmp_path: Path, delay: float) -> None:
    folder = photos(150, red=(7,))
    run(folder, tmp_path / "whole", "test-slow")
    for _ in range(2):  # killed twice: the second time in what was resumed
        process = start(folder, tmp_path / "v")
        wait_for_rows(tmp_path / "v", process)
        time.sleep(delay)
        process.kill()
        process.wait()
    run(folder, tmp_path / "v", "test-slow")
    assert rows(tmp_path / "v", "test-slow") == rows(tmp_path / "whole", "test-slow")
    assert ledger(tmp_path / "v").keys() == ledger(tmp_path / "whole").keys()
    verdict = verify(tmp_path / "v")
    assert verdict.ok, verdict.problems


def start(folder: Path, out: Path) -> subprocess.Popen[bytes]:
    """A run in a process of its own that commits every four rows."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[3]); import faulty; from percepts.encoders import register_encoder\n"
        "register_encoder(faulty.spec('Slow')); from percepts.jobs import loop, run\n"
        "loop.ROWS_A_PART = 4\n"
        "run.embed(sys.argv[1], sys.argv[2], models=['test-slow'], workers=2, batch_size=2)"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(folder), str(out), str(HERE)])


def wait_for_rows(out: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while not list((out / "ledger").glob("part-*.parquet")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-9]), "bytes, expected"),
        (lambda p: p.unlink(), "missing"),
        (lambda p: p.write_bytes(p.read_bytes()[:50] + b"\xff" + p.read_bytes()[51:]), "changed"),
    ],
    ids=["cut", "deleted", "flipped"],
)
@pytest.mark.parametrize("folder", ["data/fake-image", "ledger"])
def test_damage_is_found_by_name(photos: Photos, tmp_path: Path, damage, word: str, folder: str) -> None:  # type: ignore[no-untyped-def]
    source = photos(4)
    run(source, tmp_path / "v")
    part = next((tmp_path / "v" / folder).glob("part-*.parquet"))
    damage(part)
    verdict = verify(tmp_path / "v")
    assert any(part.name in problem and word in problem for problem in verdict.problems)
    if word != "changed":  # a flipped byte costs reading every byte to find: verify does, a start does not
        with pytest.raises(JobDamaged, match=part.name):
            run(source, tmp_path / "v")


def test_a_lost_manifest_is_named(photos: Photos, tmp_path: Path) -> None:
    source = photos(2)
    run(source, tmp_path / "v")
    (tmp_path / "v" / "manifest.json").unlink()
    for overwrite in (False, True):  # nothing says whose these parts are: they are not erased either
        with pytest.raises(JobDamaged, match=r"manifest\.json is gone"):
            run(source, tmp_path / "v", overwrite=overwrite)
    repair(tmp_path / "v")
    assert run(source, tmp_path / "v", overwrite=True).done == 2


def test_orphans_of_a_killed_run_are_reported_and_then_removed(photos: Photos, tmp_path: Path) -> None:
    source = photos(2)
    run(source, tmp_path / "v")
    orphan = tmp_path / "v" / "data" / "fake-image" / "part-000009.parquet"
    orphan.write_bytes(b"half")
    assert any("orphan" in problem for problem in verify(tmp_path / "v").problems)
    run(source, tmp_path / "v")
    assert not orphan.exists()


def test_progress_counts_to_the_end(photos: Photos, tmp_path: Path) -> None:
    seen = []
    report = run(photos(10), tmp_path / "v", on_progress=seen.append)
    assert (seen[-1].done, seen[-1].total) == (10, 10)
    assert report.encode_share + report.decode_share <= 1.0


def test_it_runs_in_a_thread_and_leaves_none(photos: Photos, tmp_path: Path) -> None:
    folder = photos(3)
    before = threading.active_count()
    thread = threading.Thread(target=run, args=(folder, tmp_path / "v"))
    thread.start()
    thread.join()
    assert verify(tmp_path / "v").ok
    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
