"""Files of words against each other, and streams against the time at which words were said."""

from __future__ import annotations

import json

import pytest

from percepts.tasks.evaluate_wer import evaluate_latency, evaluate_wer, read_text
from percepts.timeline.subtitles import write_segments
from percepts.types import Segment

jiwer = pytest.importorskip("jiwer", reason="jiwer is an extra: pip install 'percepts[eval]'")

WORDS = tuple(Segment(i, i + 0.5, f" {word}") for i, word in enumerate(["Ask", "not", "what,"]))
SAID = Segment(0.0, 2.5, "Ask not what,", WORDS, "Ann")


def line(kind: str, time: float, received: float, *words: Segment) -> str:
    rows = [{"start": word.start, "stop": word.stop, "text": word.text} for word in words]
    return json.dumps({"time": time, "received": received, "type": kind, "words": rows})


@pytest.mark.parametrize("format", ["txt", "json", "srt", "vtt", "tsv"])
def test_every_format_of_a_transcript_is_compared_by_its_words(tmp_path, format):
    (tmp_path / f"said.{format}").write_text(write_segments([SAID], format))
    (tmp_path / "found.txt").write_text("ask, what\nwhat")
    found = evaluate_wer(tmp_path / f"said.{format}", tmp_path / "found.txt")
    assert (found.words, found.substitutions, found.rate) == (3, 1, 1 / 3) and found.changes == (("not", "what"),)
    assert evaluate_wer(tmp_path / f"said.{format}", tmp_path / f"said.{format}", exact=True).rate == 0


def test_the_committed_words_of_a_stream_are_a_transcript(tmp_path):
    path = tmp_path / "talk.jsonl"
    path.write_text("\n".join([line("partial", 1, 1, WORDS[1]), line("committed", 2, 2, WORDS[0]), ""]))
    assert read_text(path) == "Ask"


def test_lateness_is_counted_from_when_words_were_said(tmp_path):
    events, truth = tmp_path / "talk.jsonl", tmp_path / "truth.json"
    late = Segment(0.2, 0.9, " ask"), Segment(1.0, 1.8, " nut"), Segment(2.1, 2.4, " WHAT")
    events.write_text("\n".join([line("committed", 3.5, 3.0, *late[:2]), line("committed", 4.0, 3.9, late[2])]))
    truth.write_text(write_segments([SAID], "json"))
    heard = evaluate_latency(events)
    assert heard.words == 3 and heard.aware["mean"] == pytest.approx((2.6 + 1.7 + 1.6) / 3)
    really = evaluate_latency(events, truth)  # "ask" ended at 0.5, "what" at 2.5; nobody said "nut"
    assert really.words == 2 and really.aware["mean"] == pytest.approx((3.0 + 1.5) / 2)
    assert really.unaware["mean"] == pytest.approx((2.5 + 1.4) / 2)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.rttm", "", "holds no words"),
        ("a.doc", "", "expected a transcript"),
        ("a.jsonl", "{}", "line 1"),
        ("a.jsonl", '{"type": "final", "time": 1, "words": []}', "got 'final'"),
        ("a.jsonl", "words", "line 1"),
        ("a.json", "[1]", "start and stop"),
    ],
)
def test_what_is_none_is_said(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        read_text(tmp_path / name)


def test_what_cannot_be_compared_is_said(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="UTF-8"):
        read_text(tmp_path / "a.txt")
    (tmp_path / "e.jsonl").write_text(line("committed", 1, 1, WORDS[0]))
    (tmp_path / "plain.json").write_text(write_segments([Segment(0, 1, "Ask")], "json"))
    with pytest.raises(ValueError, match="with words"):
        evaluate_latency(tmp_path / "e.jsonl", tmp_path / "plain.json")
