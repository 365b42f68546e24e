"""What the command line prints is aligned, true to the moment, and safe whatever a file is called."""

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from percepts.cli.output import (
    escape_text,
    format_clock,
    format_duration,
    format_size,
    format_table,
    print_json,
    shorten_path,
)


@given(st.text())
def test_nothing_that_a_terminal_obeys_gets_through(text):
    assert escape_text(text).isprintable()


@given(st.text(alphabet=st.characters(categories=("L", "N", "P"))))
def test_ordinary_text_is_left_alone(text):
    assert escape_text(text) == text


def test_bytes_that_are_no_text_are_printed_as_escapes():
    assert escape_text(b"caf\xe9.jpg".decode("utf-8", "surrogateescape")) == "caf\\udce9.jpg"


@given(st.integers(0, 10**7))
def test_a_clock_reads_back_as_the_same_tenth_of_a_second(tenths):
    hours, minutes, seconds = format_clock(tenths / 10).split(":")
    assert round((int(hours) * 60 + int(minutes)) * 600 + float(seconds) * 10) == tenths


@given(st.floats(0, 1e6))
def test_a_clock_never_names_a_later_moment(seconds):
    hours, minutes, rest = format_clock(seconds).split(":")
    # 1e-6: a tenth written in binary may lie a little below itself
    assert (int(hours) * 60 + int(minutes)) * 60 + float(rest) <= seconds + 1e-6


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (18_826_032, "18.8 MB"), (5e12, "5000.0 GB")]
)
def test_sizes_as_people_say_them(count, said):
    assert format_size(count) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min 0 s"), (7320, "2 h 2 min")]
)
def test_spans_as_people_say_them(seconds, said):
    assert format_duration(seconds) == said


def test_columns_line_up_even_with_wide_characters():
    lines = format_table(("name", "score"), [("寺.jpg", "0.9"), ("cat.jpg", "12.0")], right=("score",))
    assert lines == ["name     score", "寺.jpg     0.9", "cat.jpg   12.0"]


def test_a_path_below_here_is_shown_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shorten_path(str(tmp_path / "photos" / "a.jpg")) == "photos/a.jpg"
    assert shorten_path("/elsewhere/a.jpg") == "/elsewhere/a.jpg"


def test_json_is_valid_whatever_a_file_is_called(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    print_json({"source": "caf\udce9 寺\n"})
    out.flush()
    assert json.loads(out.buffer.getvalue()) == {"source": "caf\udce9 寺\n"}


def test_the_examples_in_the_docstrings_are_true():
    import doctest

    from percepts.cli import output

    assert doctest.testmod(output).failed == 0
