"""Name the file formats of results, and say which of them can be read again.

This is the only list: help texts, checks and the writers' tables are made from it or tested against it. It imports
nothing heavy, since `percepts --help` reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Format = Literal["txt", "srt", "vtt", "tsv", "json", "rttm"]


@dataclass(frozen=True, slots=True)
class TextFormat:
    """What a text format holds of a list of segments.

    Attributes:
        has_times: it holds when each segment starts and stops.
        has_text: it holds what is said, not only by whom.
        is_readable: percepts reads the times back, so files of it can be compared with others.
    """

    has_times: bool = True
    has_text: bool = True
    is_readable: bool = True


TEXT_FORMATS: Mapping[Format, TextFormat] = {
    "txt": TextFormat(has_times=False, is_readable=False),
    "srt": TextFormat(),
    "vtt": TextFormat(),
    "tsv": TextFormat(),
    "json": TextFormat(),
    "rttm": TextFormat(has_text=False),
}
"""Formats of labels and text. `timeline.subtitles` writes them; a new one needs a row here and one there."""
FORMATS: tuple[Format, ...] = get_args(Format)
TIMED_FORMATS = tuple(name for name, row in TEXT_FORMATS.items() if row.has_times)
READABLE_FORMATS = tuple(name for name, row in TEXT_FORMATS.items() if row.is_readable)
SPOKEN_FORMATS = tuple(name for name, row in TEXT_FORMATS.items() if row.has_text)
WORD_FORMATS: tuple[Format, ...] = ("txt", *(name for name in SPOKEN_FORMATS if name in READABLE_FORMATS))
"""Formats whose words can be compared with others: those with text that can be read again, and plain text."""
VECTOR_FORMATS = ("npz", "clip-retrieval", "webdataset", "lance")
"""Formats of vectors, beside parquet and jsonl, which hold any table."""


def list_suffixes(formats: Iterable[str]) -> str:
    """Return the formats as file endings, for a sentence.

    >>> list_suffixes(["txt", "srt", "json"])
    '.txt, .srt or .json'
    """
    *others, last = (f".{name}" for name in formats)
    return f"{', '.join(others)} or {last}" if others else last
