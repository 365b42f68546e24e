"""What models, decoders and machines do at their worst: it costs the item that causes it, and is told by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tables import Photos, ledger, rows

from percepts.jobs.run import embed
from percepts.jobs.verify import verify
from percepts.jobs.workers import watchdog as watchdog_module

HERE = Path(__file__).parent


@pytest.mark.timeout(900)
def test_killed_at_any_boundary_twice_and_resumed_nothing_is_lost_doubled_or_changed() -> None:
    """In a process of its own: each death is a fork, and this one has threads."""
    done = subprocess.run([sys.executable, HERE / "torture.py", "--quick"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "all" and int(last[2]) > 50, done.stdout
    assert last[4:7] == ["0", "0", "0"], done.stdout  # lost, duplicates, mismatched
    assert int(last[7]) > 0 and last[8] == "0", done.stdout  # foreign files, and how many of them were lost


def hasty(model: str, folder: Path, out: Path, *, grace: float = 0.5) -> subprocess.CompletedProcess[str]:
    """A job by a model that has half a second for a batch, in a process of its own, which signals may end."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[3]); import faulty; from percepts.encoders import register_encoder\n"
        f"register_encoder(faulty.spec({model!r}))\n"
        "from percepts.jobs import run; from percepts.jobs.workers import watchdog\n"
        f"watchdog.PATIENCE, watchdog.GRACE = 0.5, {grace}\n"
        f"run.embed(sys.argv[1], sys.argv[2], models=['test-{model.lower()}'], workers=0, batch_size=8)"
    )
    command = [sys.executable, "-c", code, str(folder), str(out), str(HERE)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_model_that_hangs_is_broken_off_at_the_one_that_does_it(photos: Photos, tmp_path: Path) -> None:
    done = hasty("Stuck", photos(9, red=(4,)), tmp_path / "v", grace=60.0)
    assert done.returncode == 0, done
    entry = ledger(tmp_path / "v")["0004.png"]
    assert (entry["stage"], entry["error"]) == ("encode", "EncodeError") and "gave no sign" in entry["message"]
    assert len(rows(tmp_path / "v", "test-stuck")) == 8 and verify(tmp_path / "v").ok


def test_a_model_that_hears_no_signal_ends_the_run_which_finds_the_item_when_it_is_started_again(
    photos: Photos, tmp_path: Path
) -> None:
    folder, out = photos(6, red=(4,)), tmp_path / "v"
    first = hasty("Deaf", folder, out)
    assert first.returncode == watchdog_module.HUNG and "test-deaf hangs at" in first.stderr
    assert len(json.loads((out / "stalled.json").read_text())) > 1
    assert hasty("Deaf", folder, out).returncode == watchdog_module.HUNG
    assert json.loads((out / "stalled.json").read_text()) == [str(folder / "0004.png")]
    assert hasty("Deaf", folder, out).returncode == 0
    assert ledger(out)["0004.png"]["error"] == "EncoderHung"
    assert len(rows(out, "test-deaf")) == 5 and not (out / "stalled.json").exists()
    assert verify(out).ok


def test_after_the_whole_machine_stood_still_a_batch_is_asked_before_its_process_is_ended() -> None:
    code = (
        "import os, signal, time; from percepts.jobs.workers import watchdog\n"
        "watchdog.PATIENCE, watchdog.GRACE = 0.2, 1.0\n"
        "with watchdog.Watchdog() as it, it.watch_batch('model', ['a.png']):\n"
        "    os.kill(os.getpid(), signal.SIGSTOP); time.sleep(3600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    time.sleep(3)
    process.send_signal(signal.SIGCONT)
    assert "EncodeError: model gave no sign for" in process.communicate()[1] and process.returncode == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_decoder_that_takes_all_memory_is_stopped(photos: Photos, tmp_path: Path) -> None:
    report = embed(photos(8, red=(3,)), tmp_path / "v", models=["test-greedy"], workers=1)
    assert (report.done, report.failed) == (7, 1)
    assert "Memory" in ledger(tmp_path / "v")["0003.png"]["error"]
    assert verify(tmp_path / "v").ok


def test_a_decoder_that_computes_for_ever_is_stopped(photos: Photos, tmp_path: Path) -> None:
    """Its worker's limit is set to one second by the encoder itself, in the worker."""
    report = embed(photos(4, red=(2,)), tmp_path / "v", models=["test-busy"], workers=1)
    assert (report.done, report.failed) == (3, 1)
    assert "SIGXCPU" in ledger(tmp_path / "v")["0002.png"]["message"]


def test_the_torture_finds_a_row_that_is_lost() -> None:
    """The test of the test: an engine that forgets a row does not pass."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import torture\n"
        "from percepts.jobs.storage.directory import JobDirectory\n"
        "whole = JobDirectory.commit\n"
        "def lossy(self, rows, finished, **more):\n"
        "    whole(self, rows[: len(rows) - (self.manifest.next_part > 0)], finished, **more)\n"
        "torture.POINTS = torture.POINTS[:1]\n"
        "job = torture.job\n"
        "def lossy_job(folder, out):\n"
        "    JobDirectory.commit = lossy if out.name == 'out' else whole\n"
        "    job(folder, out)\n"
        "torture.job = lossy_job\n"
        "rows = list(torture.torture(quick=True))\n"
        "sys.exit(0 if rows[0].lost and rows[0].problems else 1)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(HERE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
