"""Files compared: recordings are matched by name, or as the only ones on each side."""

from __future__ import annotations

import pytest

from percepts.tasks.evaluate_der import evaluate_der
from percepts.timeline.subtitles import write_segments
from percepts.types import Segment

TURNS = [Segment(0, 4, "yes", speaker="Ann"), Segment(4, 8, "no", speaker="Ben")]


@pytest.fixture
def file(tmp_path):
    def made(name: str, text: str):
        (tmp_path / name).write_text(text, "utf-8")
        return tmp_path / name

    return made


@pytest.mark.parametrize("format", ["rttm", "json", "srt", "vtt", "tsv"])
def test_one_recording_each_is_compared_whatever_it_is_called(file, format):
    truth = file("truth.rttm", write_segments(TURNS, "rttm", source="meeting"))
    found = file(f"found.{format}", write_segments(TURNS[:1], format))
    errors = evaluate_der(truth, found)
    assert list(errors) == ["meeting"] and errors["meeting"].rate == 0.5


def test_several_recordings_are_matched_by_name(file):
    one, two = (write_segments(TURNS, "rttm", source=name) for name in ("one", "two"))
    errors = evaluate_der(
        file("a.rttm", one + two), file("b.rttm", two + write_segments(TURNS, "rttm", source="three"))
    )
    assert {name: e.rate for name, e in errors.items()} == {"one": 1.0, "two": 0.0, "three": float("inf")}


def test_files_that_hold_no_turns_are_refused_by_name(file):
    good = file("a.rttm", write_segments(TURNS, "rttm"))
    with pytest.raises(ValueError, match=r"a\.txt: expected a file"):
        evaluate_der(file("a.txt", "x"), good)
    with pytest.raises(ValueError, match=r"b\.rttm: line 1"):
        evaluate_der(good, file("b.rttm", "SPEAKER x"))
    (good.parent / "c.srt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"c\.srt"):
        evaluate_der(good, good.parent / "c.srt")
