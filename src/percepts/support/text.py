"""Read a text file of the user, whole and within a limit: labels, subtitles, turns, words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import MediaTooLarge

MAX_TEXT = 256 << 20
"""Bytes of one text file: the subtitles of ten thousand hours, or ten million labels."""


def read_text(path: Path, *, most: int = MAX_TEXT) -> str:
    """Return the text of a UTF-8 file, without its byte order mark.

    Raises:
        MediaTooLarge: more than `most` bytes; no more than that is read, whatever the file is.
        UnicodeDecodeError: no UTF-8.
        OSError: as `open` would.
    """
    with path.open("rb") as file:
        data = bytearray()
        while block := file.read(min(1 << 20, most + 1 - len(data))):
            data += block
    if len(data) > most:
        raise MediaTooLarge(f"{path}: a text file of more than {most:,} bytes: split it")
    return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str) -> Any:
    """Parse JSON. ValueError where it is none, or is nested too deeply to be anything."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
