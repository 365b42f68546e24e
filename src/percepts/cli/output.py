"""Values to text for people and programs: tables, times, sizes, JSON; safe whatever a file is called."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer


def escape_text(text: str) -> str:
    r"""The text with everything a terminal would obey, and bytes that are no text, as escapes.

    >>> printable("a\x1b[2Jb\n")
    'a\\x1b[2Jb\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def format_clock(seconds: float) -> str:
    """Seconds as h:mm:ss.s.

    >>> clock(3725.25)
    '1:02:05.2'
    """
    tenths = int(seconds * 10 + 1e-6)  # never later than the moment it names; 1e-6 for 0.3 * 10 = 2.9999…
    minutes, tenths = divmod(tenths, 600)
    return f"{minutes // 60}:{minutes % 60:02}:{tenths // 10:02}.{tenths % 10}"


def format_size(count: int) -> str:
    """Bytes as people say them.

    >>> size(18_600_000)
    '18.6 MB'
    """
    value, units = float(count), ("B", "kB", "MB", "GB")
    for unit in units:
        if value < 1000 or unit == units[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def format_count(count: int, one: str) -> str:
    """So many of them, of the word for one.

    >>> number(1, "vector"), number(2000, "vector"), number(2, "set of labels")
    ('1 vector', '2,000 vectors', '2 sets of labels')
    """
    noun, of, rest = one.partition(" of ")
    return f"{count:,} {noun}{'' if count == 1 else 's'}{of}{rest}"


def format_duration(seconds: float) -> str:
    """How long something takes, as people say it.

    >>> span(4.21), span(75), span(7320)
    ('4.2 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def shorten_path(uri: str) -> str:
    """The path as seen from here when it lies below here, the whole of it otherwise."""
    here = os.getcwd() + os.sep
    return escape_text(uri.removeprefix("file://").removeprefix(here))


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> list[str]:
    """Aligned lines, the head first; columns named in `right` lean right, the last one is not padded."""
    from rich.cells import cell_len

    cells = [list(head), *([escape_text(cell) for cell in row] for row in rows)]
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(head))]
    lines = []
    for row in cells:
        padded = []
        for name, cell, width in zip(head, row, widths, strict=True):
            gap = " " * (width - cell_len(cell))
            padded.append(gap + cell if name in right else cell + gap)
        lines.append("  ".join(padded).rstrip())
    return lines


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """A table on stdout, its head bold on a terminal."""
    first, *rest = format_table(head, rows, right=right)
    typer.secho(first, bold=True)
    for line in rest:
        typer.echo(line)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    json.dump(value, sys.stdout, indent=2)  # ASCII: a name that is no text still makes valid JSON
    sys.stdout.write("\n")
