"""`percepts embed` and `verify` in processes of their own: exit codes, what is said, and what is left behind."""

import json
import os
import signal
import subprocess
import sys

import pytest

FAKES = ("-m", "fake-image", "-m", "fake-audio")


def test_a_folder_becomes_vectors_and_a_second_run_does_nothing_twice(percepts, photos):
    first = percepts("embed", photos, "-o", "vectors", *FAKES)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("4 files embedded: 5 new vectors in vectors (")
    assert percepts("verify", "vectors").returncode == 0
    second = percepts("embed", photos, "-o", "vectors", *FAKES)
    assert second.returncode == 0
    assert second.stdout.startswith("0 files embedded, 4 already done: 0 new vectors")


def test_progress_goes_to_stderr_and_the_report_to_stdout(percepts, photos):
    done = percepts("embed", photos, "-o", "vectors", *FAKES, "--progress", "json", "--json")
    report = json.loads(done.stdout)
    assert (report["done"], report["failed"], report["rows"], report["output"]) == (4, 0, 5, "vectors")
    last = json.loads(done.stderr.splitlines()[-1])
    assert last["done"] == last["total"] == 4


def test_progress_none_is_silent(percepts, photos):
    done = percepts("embed", photos, "-o", "vectors", *FAKES, "--progress", "none")
    assert done.stderr == ""


def test_a_bad_file_ends_with_3_says_which_and_how_to_try_again(percepts, photos):
    bad = photos / "text.jpg"
    bad.write_text("no picture")
    done = percepts("embed", "photos", "-o", "vectors", *FAKES)
    assert done.returncode == 3
    assert "1 failed:\n  photos/text.jpg  [probe] NotMedia: " in done.stdout
    assert "percepts embed photos -o vectors -m fake-image -m fake-audio --retry-failed" in done.stdout
    (photos / "red.png").replace(bad)
    again = percepts("embed", "photos", "-o", "vectors", *FAKES, "--retry-failed")
    assert again.returncode == 0, again.stdout
    assert again.stdout.startswith("1 file embedded")


def test_what_failed_before_is_not_forgotten(percepts, photos):
    (photos / "text.jpg").write_text("no picture")
    percepts("embed", "photos", "-o", "vectors", *FAKES)
    again = percepts("embed", "photos", "-o", "vectors", *FAKES)
    assert again.returncode == 3
    assert "Not retried: 1 file that failed in an earlier run." in again.stdout


def test_names_that_a_terminal_would_obey_are_escaped(percepts, photos):
    (photos / "evil\x1b[2J.jpg").write_text("no picture")
    done = percepts("embed", "photos", "-o", "vectors", *FAKES)
    assert "\x1b" not in done.stdout + done.stderr
    assert "evil\\x1b[2J.jpg" in done.stdout


def test_other_settings_in_the_same_directory_are_refused_by_name(percepts, photos):
    percepts("embed", photos, "-o", "vectors", *FAKES)
    done = percepts("embed", photos, "-o", "vectors", *FAKES, "--hop", "0.5")
    assert done.returncode == 2
    assert "hop" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_file_is_one_line(percepts):
    done = percepts("embed", "nowhere.jpg", "-o", "vectors", *FAKES)
    assert done.returncode == 2
    assert "nowhere.jpg" in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_traceback_is_there_for_who_asks(percepts):
    done = percepts("embed", "nowhere.jpg", "-o", "vectors", *FAKES, PERCEPTS_TRACEBACK="1")
    assert "Traceback" in done.stderr


def test_verify_names_a_damaged_file_and_ends_with_1(percepts, photos, tmp_path):
    percepts("embed", photos, "-o", "vectors", *FAKES)
    part = next((tmp_path / "vectors" / "data").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1])
    done = percepts("verify", "vectors")
    assert done.returncode == 1
    assert part.name in done.stdout
    as_json = json.loads(percepts("verify", "vectors", "--json").stdout)
    assert as_json["ok"] is False and part.name in as_json["problems"][0]


def test_verify_of_no_job_directory_is_one_line(percepts, photos):
    done = percepts("verify", "photos")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to another process")
def test_an_interrupted_run_ends_with_130_and_says_how_to_go_on(tmp_path, photos):
    for number in range(20_000):  # seconds of work: it must not be over before the signal comes
        (photos / f"{number}.png").hardlink_to(photos / "red.png")
    command = [sys.executable, "-m", "percepts.cli", "embed", "photos", "-o", "vectors", *FAKES, "--workers", "1"]
    with subprocess.Popen(
        [*command, "--progress", "json"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as job:
        job.stderr.readline()  # the run is under way
        job.send_signal(signal.SIGINT)
        said, _ = job.communicate(timeout=240)
    assert job.returncode == 130, said
    assert "To resume: percepts embed photos -o vectors" in said
    assert "Traceback" not in said
