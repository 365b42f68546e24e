"""What holds for a job of vectors holds for one of labels, text or turns."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from show import show
from tables import Photos, ledger
from toytasks import COLOUR, TURNS, Colours, Cores, Turns

from percepts.errors import SettingsDiffer
from percepts.jobs.run import run
from percepts.jobs.verify import verify
from percepts.stores import jsonl
from percepts.stores.parquet import batch_records, read_parts
from percepts.timeline import subtitles
from percepts.types import Record

HERE = Path(__file__).parent


def said(directory: Path, model: str = COLOUR.name) -> dict[tuple[str, float], Record]:
    found = [record for batch in read_parts(directory, model) for record in batch_records(batch, model)]
    by_window = {(Path(record.source).name, record.start): record for record in found}
    assert len(by_window) == len(found)
    return by_window


def same(one: Path, other: Path, model: str = COLOUR.name) -> bool:
    a, b = said(one, model), said(other, model)
    return a.keys() == b.keys() and all(show(a[key]) == show(b[key]) for key in a)


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Four seconds: loud, quiet, loud, quiet."""
    folder = tmp_path / "talks"
    folder.mkdir()
    levels = np.repeat(np.array([0.3, 0.01, 0.3, 0.01], np.float32), 8000)
    soundfile.write(folder / "talk.wav", levels * np.random.default_rng(0).choice([-1, 1], 32000), 8000)
    return folder / "talk.wav"


def test_labels_scores_and_text_come_back_from_the_tables(photos: Photos, tmp_path: Path) -> None:
    report = run(Colours(), photos(6, red=(2,)), tmp_path / "v", workers=0)
    assert (report.done, report.rows) == (6, 6)
    red = said(tmp_path / "v")["0002.png", 0.0]
    assert (red.labels[0], red.scores[0], red.text, red.score, red.vector) == ("red", 1.0, "something red", 1.0, None)
    (alone,) = Colours().iterate_records(tmp_path / "photos" / "0002.png")
    assert show(alone) == show(red)
    assert verify(tmp_path / "v").ok


@pytest.mark.parametrize("red", ["raise", "nan"])
def test_a_row_that_fails_costs_only_itself(photos: Photos, tmp_path: Path, red: str) -> None:
    folder = photos(20, red=(7,))
    report = run(Colours(red), folder, tmp_path / "v", workers=0)
    assert (report.done, report.failed) == (19, 1)
    assert ledger(tmp_path / "v")["0007.png"]["stage"] == "encode"
    again = run(Colours(), [], tmp_path / "v", workers=0, retry_failed=True)
    assert (again.done, again.failed) == (1, 0)
    run(Colours(), folder, tmp_path / "clean", workers=2, batch_size=3)
    assert same(tmp_path / "v", tmp_path / "clean")
    assert verify(tmp_path / "v").ok


def test_a_worker_that_dies_costs_only_its_file(photos: Photos, tmp_path: Path) -> None:
    report = run(Colours("exit"), photos(10, red=(3,)), tmp_path / "v", workers=1)
    assert (report.done, report.failed) == (9, 1)
    assert ledger(tmp_path / "v")["0003.png"]["error"] == "WorkerDied"


def test_another_setting_is_refused_and_lists_are_not_other_than_tuples(photos: Photos, talk: Path) -> None:
    out, folder = talk.parent.parent, photos(1)
    run(Colours(), folder, out / "v", workers=0)
    with pytest.raises(SettingsDiffer, match="count: 2 → 3"):
        run(Colours(count=3), folder, out / "v", workers=0)
    with pytest.raises(SettingsDiffer, match="task: 'colours' → 'turns'"):
        run(Turns(), talk, out / "v", workers=0)
    run(Turns(), talk, out / "t", workers=0)
    assert run(Turns(), talk, out / "t", workers=0).unchanged == 1  # its settings hold a tuple


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_kill_and_resume_equals_a_run_that_was_never_killed(photos: Photos, tmp_path: Path, kill: int) -> None:
    folder = photos(150, red=(7,))
    run(Colours(), folder, tmp_path / "whole", workers=0)
    code = (
        "import sys; sys.path.insert(0, sys.argv[3]); from toytasks import Colours\n"
        "from percepts.jobs import loop, run; from percepts.jobs.workers import worker\n"
        "loop.ROWS_A_PART, worker.MESSAGE_SECONDS = 4, 0.0\n"
        "run.run(Colours('slow'), sys.argv[1], sys.argv[2], workers=0, batch_size=2)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder), str(tmp_path / "v"), str(HERE)]) as process:
        deadline = time.monotonic() + 240
        while len(list((tmp_path / "v").glob("ledger/part-*.parquet"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(kill)
    report = run(Colours(), folder, tmp_path / "v", workers=0)
    assert report.unchanged > 0 and report.done > 0
    assert same(tmp_path / "v", tmp_path / "whole")
    assert verify(tmp_path / "v").ok


@pytest.mark.parametrize("workers", [0, 1])
def test_a_source_taken_whole_gives_turns_with_words(talk: Path, tmp_path: Path, workers: int) -> None:
    (talk.parent / "not.png").write_bytes(b"no picture")
    report = run(Turns(), talk.parent, tmp_path / "v", workers=workers)
    assert (report.done, report.failed, report.rows) == (1, 1, 4)
    found = said(tmp_path / "v", TURNS.name)
    assert [record.speaker for record in found.values()] == ["loud", "quiet", "loud", "quiet"]
    assert [show(record) for record in found.values()] == [show(record) for record in Turns().iterate_records(talk)]
    assert verify(tmp_path / "v").ok


def test_what_a_whole_source_said_before_it_failed_is_kept(talk: Path, tmp_path: Path) -> None:
    report = run(Turns("raise"), talk, tmp_path / "v", workers=0)
    assert (report.failed, report.rows) == (1, 2)
    entry = ledger(tmp_path / "v")["talk.wav"]
    assert (entry["stage"], entry["error"], entry["message"]) == ("encode", "RuntimeError", "out of words")
    assert run(Turns(), [], tmp_path / "v", workers=0, retry_failed=True).rows == 4
    assert len(said(tmp_path / "v", TURNS.name)) == 4


def test_a_worker_that_dies_in_a_whole_source_begins_it_anew(
    talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    monkeypatch.setenv("PERCEPTS_TEST_FLAG", str(flag))
    assert run(Turns("flag"), talk, tmp_path / "v").rows == 4
    assert not flag.exists() and len(said(tmp_path / "v", TURNS.name)) == 4
    assert run(Turns("exit"), talk, tmp_path / "w").failed == 1
    assert not said(tmp_path / "w", TURNS.name)
    assert verify(tmp_path / "v").ok and verify(tmp_path / "w").ok


def test_text_is_mirrored_as_subtitles_tables_and_turns(talk: Path, tmp_path: Path) -> None:
    out, formats = tmp_path / "v", ("txt", "srt", "vtt", "tsv", "json", "rttm", "jsonl")
    run(Turns(), talk, out, workers=0, formats=formats)
    for format in ("srt", "vtt", "tsv", "json", "rttm"):
        turns = subtitles.read_segments((out / format / f"talk.{format}").read_text(), format)
        assert [(turn.start, turn.speaker) for turn in turns] == [
            (0.0, "loud"), (1.0, "quiet"), (2.0, "loud"), (3.0, "quiet")
        ]  # fmt: skip
    assert json.loads((out / "json" / "talk.json").read_text())["source"] == str(talk)
    lines = [record for path in (out / "jsonl").rglob("*.jsonl") for record in jsonl.read_records(path)]
    assert [show(line) for line in lines] == [show(record) for record in said(out, TURNS.name).values()]


def test_two_of_one_name_have_files_of_their_own_whenever_they_come(talk: Path, tmp_path: Path) -> None:
    run(Turns(), talk, tmp_path / "v", workers=0, formats=("srt",))
    other = talk.parent / "more" / "talk.wav"
    other.parent.mkdir()
    soundfile.write(other, np.full(8000, 0.3, np.float32), 8000)
    run(Turns(), talk.parent, tmp_path / "v", workers=0, formats=("srt",))
    grown = {path.name: path.read_bytes() for path in (tmp_path / "v" / "srt").iterdir()}
    run(Turns(), talk.parent, tmp_path / "w", workers=0, formats=("srt",))
    assert grown == {path.name: path.read_bytes() for path in (tmp_path / "w" / "srt").iterdir()}
    assert len(grown) == 2 and "talk.srt" not in grown


def test_a_changed_source_has_its_subtitles_made_anew(talk: Path, tmp_path: Path) -> None:
    run(Turns(), talk, tmp_path / "v", workers=0, formats=("srt",))
    soundfile.write(talk, np.full(8000, 0.3, np.float32), 8000)
    run(Turns(), talk, tmp_path / "v", workers=0, formats=("srt",))
    assert (tmp_path / "v" / "srt" / "talk.srt").read_text().count("-->") == 1


def test_formats_that_a_table_cannot_fill_are_refused_before_anything_is_done(photos: Photos, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="npz"):
        run(Colours(), photos(1), tmp_path / "v", formats=("npz",))
    with pytest.raises(ValueError, match="among parquet, npz, jsonl, txt, srt"):
        run(Colours(), photos(1), tmp_path / "v", formats=("docx",))
    assert not (tmp_path / "v").exists()


def test_each_of_several_workers_has_its_share_of_the_cores(
    talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pools sized by `cores()`, and libraries that read a variable, must not each take the whole machine."""
    monkeypatch.setenv("PERCEPTS_CORES", "8")
    for workers, share in ((2, 4), (1, 8), (9, 1)):
        run(Cores(), talk, tmp_path / str(workers), workers=workers)
        (turn,) = said(tmp_path / str(workers), TURNS.name).values()
        assert turn.text == f"{share} cores, {share} rows at a time, OMP_NUM_THREADS {share}"
