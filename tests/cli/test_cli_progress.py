"""Progress goes to stderr: lines that say where the job stands, JSON for programs, a bar on a terminal, or nothing."""

import json
import sys
from dataclasses import replace

import pytest

from percepts.cli.progress import show_job_progress
from percepts.jobs.progress import Progress

STATE = Progress(
    done=400, failed=3, skipped=9, unchanged=0, total=1000, rows=500, seconds=8.0,
    rate=51.5, eta=11.3, decode_share=0.71, encode_share=0.2,
)  # fmt: skip


@pytest.fixture
def stderr(capsys):
    """Call it for what was written since the last call."""
    return lambda: capsys.readouterr().err


def pretend_terminal(monkeypatch):
    """To be called in the test itself: pytest gives every phase a stderr of its own."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")


def test_a_line_says_how_far_how_fast_how_long_and_what_takes_the_time(stderr):
    with show_job_progress("plain") as show:
        show(STATE)
    assert stderr() == (
        "412 of 1,000 files, 3 failed, 51.5 per second, 11.3 s left; decode 71%, encode 20% of the time\n"
    )


def test_a_line_without_a_total_says_what_is_known(stderr):
    with show_job_progress("plain") as show:
        show(replace(STATE, total=None, eta=None, failed=0, rate=0.25))
    assert stderr() == "409 files, 4.0 seconds each; decode 71%, encode 20% of the time\n"


def test_lines_come_now_and_then_and_the_last_state_always(stderr):
    with show_job_progress("plain", every=3600) as show:
        for done in range(100):
            show(replace(STATE, done=done))
    lines = stderr().splitlines()
    assert len(lines) == 1 and lines[0].startswith("111 of 1,000")


def test_the_last_state_is_shown_when_the_job_raises(stderr):
    with pytest.raises(OSError), show_job_progress("plain", every=3600) as show:
        show(STATE)
        raise OSError("disk full")
    assert "412 of 1,000" in stderr()


def test_json_lines_carry_every_field(stderr):
    with show_job_progress("json", every=0) as show:
        show(STATE)
        show(replace(STATE, done=401))
    first, second = map(json.loads, stderr().splitlines())
    assert first["done"] == 400 and second["done"] == 401
    assert set(first) == set(Progress.__dataclass_fields__)


def test_none_is_no_callback_at_all(stderr):
    with show_job_progress("none") as show:
        assert show is None
    assert stderr() == ""


def test_auto_is_lines_where_there_is_no_terminal(stderr):
    with show_job_progress("auto") as show:
        show(STATE)
    assert "412 of 1,000 files" in stderr()


def test_auto_is_a_bar_on_a_terminal(stderr, monkeypatch):
    pretend_terminal(monkeypatch)
    with show_job_progress("auto") as show:
        show(STATE)
    drawn = stderr()
    assert "\x1b[" in drawn
    for word in ("412/1,000", "51.5 per second", "11.3 s left", "decode 71%", "encode 20%", "3 failed"):
        assert word in drawn


def test_a_bar_needs_no_total(stderr, monkeypatch):
    pretend_terminal(monkeypatch)
    with show_job_progress("auto") as show:
        show(replace(STATE, total=None, eta=None))
    assert "412" in stderr()
