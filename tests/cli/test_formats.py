"""One list of formats: what it says of each is so, and every place that names formats names these."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from percepts.jobs.storage.formats import FOLDERS
from percepts.support.formats import (
    FORMATS,
    READABLE_FORMATS,
    SPOKEN_FORMATS,
    TEXT_FORMATS,
    TIMED_FORMATS,
    VECTOR_FORMATS,
    WORD_FORMATS,
)
from percepts.tasks.evaluate_der import evaluate_der
from percepts.tasks.evaluate_wer import evaluate_wer
from percepts.timeline.subtitles import read_segments, write_segments
from percepts.types import Segment

TURN = Segment(1.5, 2.25, "Hello there.", speaker="Ann")


def test_every_format_has_a_row_and_a_writer() -> None:
    assert tuple(TEXT_FORMATS) == FORMATS
    assert set(FOLDERS) == {"jsonl", *VECTOR_FORMATS, *FORMATS}


@pytest.mark.parametrize("format", FORMATS)
def test_a_format_holds_what_its_row_says(format) -> None:
    text = write_segments([TURN], format, source="talk")
    assert ("Hello there." in text) == (format in SPOKEN_FORMATS)
    assert bool(re.search(r"1[.,]?5", text)) == (format in TIMED_FORMATS)
    if format in READABLE_FORMATS:
        assert [(turn.start, turn.stop) for turn in read_segments(text, format)] == [(1.5, 2.25)]
    else:
        with pytest.raises(ValueError, match=f"{format} has no times, .*: expected one of {READABLE_FORMATS[0]}"):
            read_segments(text, format)


@pytest.mark.parametrize("format", [*FORMATS, "lrc"])
def test_a_file_is_compared_with_others_only_where_its_format_can_be_read(tmp_path: Path, format) -> None:
    """`lrc` stands for a format that is written, if at all, and never read."""
    file = tmp_path / f"a.{format}"
    file.write_text(write_segments([TURN], format, source="a") if format in FORMATS else "[00:01.50]Hello there.")
    if format in READABLE_FORMATS:
        assert evaluate_der(file, file)["a"].rate == 0
    else:
        with pytest.raises(ValueError, match=r"expected a file of turns that ends in \.srt, .* or \.rttm"):
            evaluate_der(file, file)
    if format in WORD_FORMATS:
        assert evaluate_wer(file, file).words == 2
    else:
        with pytest.raises(ValueError, match=r"expected .*\.txt, \.srt, \.vtt, \.tsv or \.json"):
            evaluate_wer(file, file)


def test_help_and_docs_name_every_format(percepts) -> None:
    names = {"jsonl", *VECTOR_FORMATS, *FORMATS}
    said = {
        "embed --help": re.sub(r"-\s+", "-", percepts("embed", "--help").stdout),  # lines break at hyphens
        "transcribe --help": re.sub(r"-\s+", "-", percepts("transcribe", "--help").stdout),
        "docs/jobs.md": (Path(__file__).parents[2] / "docs/jobs.md").read_text("utf-8"),
    }
    missing = {where: sorted(name for name in names if name not in text) for where, text in said.items()}
    assert not any(missing.values()), missing
    for command, formats in {"align": SPOKEN_FORMATS}.items():
        text = percepts(command, "--help").stdout
        assert all(name in text for name in formats)
    for command, formats in {"der": READABLE_FORMATS, "wer": WORD_FORMATS}.items():
        text = percepts("eval", command, "--help").stdout
        assert all(f".{name}" in text for name in formats)
