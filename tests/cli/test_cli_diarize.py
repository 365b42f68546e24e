"""Who spoke when from the command line, and the error rate of what it says."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from need_weights import need_weights

from percepts.timeline.subtitles import read_segments

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(autouse=True)
def weights():
    need_weights("silero", "ge2e")


def test_turns_are_written_and_judged(percepts, tmp_path):
    done = percepts("diarize", DATA / "conversation.flac", "-f", "rttm,json,vtt", "-o", "turns")
    assert done.returncode == 0 and "1 file diarized" in done.stdout, done.stderr
    found = {path.suffix: path for form in ("rttm", "json", "vtt") for path in (tmp_path / "turns" / form).iterdir()}
    assert {path.name for path in found.values()} == {f"conversation.{form}" for form in ("rttm", "json", "vtt")}
    judged = percepts("eval", "der", DATA / "conversation.rttm", "turns/rttm/conversation.rttm", "--json")
    assert json.loads(judged.stdout)["der"] <= 0.10
    table = percepts("eval", "der", DATA / "conversation.rttm", "turns/json/conversation.json").stdout.splitlines()
    assert table[0].split()[:2] == ["recording", "DER"] and table[1].startswith("conversation")


def test_one_bad_file_of_several_costs_no_other(percepts, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    shutil.copy(DATA / "conversation.flac", tmp_path / "talk.flac")
    done = percepts(
        "diarize", "broken.wav", "silence.wav", "talk.flac", "-o", "out", "-f", "rttm", "--progress", "none"
    )
    assert done.returncode == 3 and "broken.wav" in done.stdout and "Traceback" not in done.stderr
    assert {path.name for path in (tmp_path / "out" / "rttm").iterdir()} == {"silence.rttm", "talk.rttm"}
    assert (tmp_path / "out" / "rttm" / "silence.rttm").read_text() == ""  # nobody spoke, which is a result
    assert (
        len({turn.speaker for turn in read_segments((tmp_path / "out" / "rttm" / "talk.rttm").read_text(), "rttm")})
        == 3
    )
    again = percepts("diarize", "talk.flac", "silence.wav", "-o", "out", "-f", "rttm", "--progress", "none")
    assert "0 files diarized, 2 already done" in again.stdout and again.returncode == 0
    other = percepts("diarize", "talk.flac", "-o", "out", "--speakers", "2")
    assert other.returncode == 2 and "speakers.least" in other.stderr
    assert percepts("verify", "out").returncode == 0


def test_a_known_voice_is_called_by_its_name_on_stdout(percepts):
    done = percepts(
        "diarize", DATA / "conversation.flac", "--speakers", "1", "--voice", f"Us={DATA / 'conversation.flac'}"
    )
    assert done.returncode == 0, done.stderr
    assert {turn.speaker for turn in read_segments(done.stdout, "rttm")} == {"Us"}
