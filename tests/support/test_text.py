"""Text files of the user: whole within a limit, and nothing without end."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path

import pytest

from percepts.encoders import load_encoder
from percepts.errors import MediaTooLarge
from percepts.support.text import MAX_TEXT, parse_json, read_text
from percepts.timeline.subtitles import read_segments


def test_text_comes_as_python_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes("\ufeffa\r\nb\rc\n".encode())
    assert read_text(path) == path.read_text("utf-8-sig") == "a\nb\nc\n"


@pytest.mark.parametrize("endless", [True, False])
def test_no_more_than_the_limit_is_read(tmp_path: Path, endless: bool) -> None:
    path = Path("/dev/zero") if endless else tmp_path / "large.srt"
    if not endless:
        with path.open("wb") as file:
            file.truncate(4 * MAX_TEXT)
    tracemalloc.start()
    with pytest.raises(MediaTooLarge, match="more than 1,000,000 bytes, the most that a text file may have"):
        read_text(path, most=1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_json_without_bottom_is_a_value_error() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    for call in (parse_json, lambda text: read_segments(text, "json")):
        with pytest.raises(ValueError, match="nested too deeply"):
            call(deep)


def test_pickling_a_model_says_what_to_send_instead() -> None:
    with pytest.raises(TypeError, match="send its name or its Spec"):
        pickle.dumps(load_encoder("conse"))
