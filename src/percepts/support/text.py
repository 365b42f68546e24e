"""Read text files of the user within a limit of size: labels, subtitles, speaker turns, words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import MediaTooLarge

MAX_TEXT = 256 << 20
"""Most bytes of one text file: the subtitles of ten thousand hours, or ten million labels."""


def read_text(path: Path, *, most: int = MAX_TEXT) -> str:
    """Return the text of a UTF-8 file, without its byte order mark.

    Raises:
        MediaTooLarge: the file has more than `most` bytes. No more is read, even of a file without an end.
        UnicodeDecodeError: the file is not UTF-8.
        OSError: as `open` would.
    """
    with path.open("rb") as file:
        data = bytearray()
        while block := file.read(min(1 << 20, most + 1 - len(data))):
            data += block
    if len(data) > most:
        raise MediaTooLarge(f"{path}: has more than {most:,} bytes, the most that a text file may have: split it")
    return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")  # as open() does in text mode


def parse_json(text: str) -> Any:
    """Parse JSON. ValueError where the text is not JSON, or nested too deeply for Python."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
