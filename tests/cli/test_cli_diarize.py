"""Who spoke when from the command line, and the error rate of what it says."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from percepts.encoders import _weights
from percepts.errors import WeightsError
from percepts.timeline.subtitles import read

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(autouse=True)
def weights():
    try:
        _weights.fetch(["silero", "ge2e"])
    except WeightsError as error:
        pytest.skip(f"no weights: {error}")


def test_turns_are_written_and_judged(percepts, tmp_path):
    done = percepts("diarize", DATA / "conversation.flac", "-f", "rttm,json,vtt", "-o", "turns")
    assert (done.returncode, done.stdout) == (0, "")
    assert "conversation: 3 speakers" in done.stderr
    assert {path.name for path in (tmp_path / "turns").iterdir()} == {
        f"conversation.{f}" for f in ("rttm", "json", "vtt")
    }
    judged = percepts("eval", "der", DATA / "conversation.rttm", "turns/conversation.rttm", "--json")
    assert json.loads(judged.stdout)["der"] <= 0.10
    table = percepts("eval", "der", DATA / "conversation.rttm", "turns/conversation.json").stdout.splitlines()
    assert table[0].split()[:2] == ["recording", "DER"] and table[1].startswith("conversation")


def test_one_bad_file_of_several_costs_no_other(percepts, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    done = percepts("diarize", "broken.wav", "silence.wav", "-o", ".", "-f", "json")
    assert done.returncode == 3 and "broken.wav" in done.stderr and "Traceback" not in done.stderr
    assert read((tmp_path / "silence.json").read_text(), "json") == []


def test_a_known_voice_is_called_by_its_name_on_stdout(percepts):
    done = percepts(
        "diarize", DATA / "conversation.flac", "--speakers", "1", "--voice", f"Us={DATA / 'conversation.flac'}"
    )
    assert done.returncode == 0, done.stderr
    assert {turn.speaker for turn in read(done.stdout, "rttm")} == {"Us"}
