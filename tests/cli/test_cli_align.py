"""When known words were said, from the command line, and the error rates of words."""

import json

import pytest
import soundfile

from percepts.speech.fake import RATE, spell
from percepts.timeline.subtitles import read_segments


@pytest.fixture
def talk(tmp_path):
    soundfile.write(tmp_path / "talk.wav", spell("ask not", 1.0, 3.0), RATE)
    (tmp_path / "said.txt").write_text("Ask\nnot")


@pytest.mark.usefixtures("talk")
def test_words_are_aligned_and_written(percepts, tmp_path):
    done = percepts("align", "talk.wav", "--text-file", "said.txt", "-m", "fake-ctc")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split() == ["1.00", "1.20", "0.90", "Ask"]
    shown = percepts(
        "align", "talk.wav", "--text", "ask not", "-m", "fake-ctc", "-f", "srt", "--highlight-words"
    ).stdout
    assert "<u>ask</u> not" in shown and read_segments(shown, "srt")[0].start == 1.0
    too_long = percepts("align", "talk.wav", "--text", "ask " * 100, "-m", "fake-ctc")
    assert too_long.returncode == 1 and "letters need" in too_long.stderr and "Traceback" not in too_long.stderr


@pytest.mark.usefixtures("talk")
def test_errors_of_words_are_counted_and_shown(percepts, tmp_path):
    pytest.importorskip("jiwer", reason="jiwer is an extra: pip install 'percepts[eval]'")
    (tmp_path / "found.txt").write_text("ask, nut")
    table = percepts("eval", "wer", "said.txt", "found.txt").stdout.splitlines()
    assert table[1].split() == ["50.00%", "1", "0", "0", "2"] and table[2].split() == ["1", "x", "not", "->", "nut"]
    found = json.loads(percepts("eval", "wer", "said.txt", "found.txt", "--json").stdout)
    assert found["wer"] == 0.5 and found["changes"] == [["not", "nut"]]
    (tmp_path / "e.jsonl").write_text(
        '{"time": 2.0, "received": 1.5, "type": "committed", "words": [{"start": 0, "stop": 1, "text": "ask"}]}'
    )
    assert json.loads(percepts("eval", "latency", "e.jsonl", "--json").stdout)["unaware"]["mean"] == 0.5
    assert "1 words" in percepts("eval", "latency", "e.jsonl").stdout
