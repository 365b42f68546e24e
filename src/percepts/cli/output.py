"""Format tables, times, sizes and JSON for the terminal, safe for file names with control characters."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer


def escape_text(text: str) -> str:
    r"""Return the text with control characters, and bytes that are not text, as escapes.

    >>> escape_text("a\x1b[2Jb\n")
    'a\\x1b[2Jb\\n'
    """
    if text.isprintable():
        return text
    # A file name with an escape sequence could otherwise change what the terminal shows.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def format_clock(seconds: float) -> str:
    """Return seconds as h:mm:ss.s.

    >>> format_clock(3725.25)
    '1:02:05.2'
    """
    tenths = int(seconds * 10 + 1e-6)  # never later than the moment it names; 1e-6 for 0.3 * 10 = 2.9999…
    minutes, tenths = divmod(tenths, 600)
    return f"{minutes // 60}:{minutes % 60:02}:{tenths // 10:02}.{tenths % 10}"


def format_size(count: int) -> str:
    """Return a number of bytes with its unit.

    >>> format_size(18_600_000)
    '18.6 MB'
    """
    # Powers of 1000, as disks and downloads are measured.
    value, units = float(count), ("B", "kB", "MB", "GB")
    for unit in units:
        if value < 1000 or unit == units[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def format_count(count: int, one: str) -> str:
    """Return a count with its noun, in the plural where it needs one.

    >>> format_count(1, "vector"), format_count(2000, "vector"), format_count(2, "set of labels")
    ('1 vector', '2,000 vectors', '2 sets of labels')
    """
    # The noun before "of" takes the plural: sets of labels.
    noun, of, rest = one.partition(" of ")
    return f"{count:,} {noun}{'' if count == 1 else 's'}{of}{rest}"


def format_duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours.

    >>> format_duration(4.21), format_duration(75), format_duration(7320)
    ('4.2 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    # Rounded first, or 119.6 s would be "1 min 60 s".
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def shorten_path(uri: str) -> str:
    """Return the path, relative to the current folder if it is below it, with control characters escaped."""
    here = os.getcwd() + os.sep  # the separator, or "/data2" would count as below "/data"
    return escape_text(uri.removeprefix("file://").removeprefix(here))


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> list[str]:
    """Return a table as aligned lines, the head first; the columns named in `right` are right-aligned."""
    # A Chinese character takes two columns of a terminal, a combining accent none.
    from rich.cells import cell_len

    cells = [list(head), *([escape_text(cell) for cell in row] for row in rows)]
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(head))]
    lines = []
    for row in cells:
        padded = []
        for name, cell, width in zip(head, row, widths, strict=True):
            gap = " " * (width - cell_len(cell))
            padded.append(gap + cell if name in right else cell + gap)
        # Spaces at the end would wrap a line that fits.
        lines.append("  ".join(padded).rstrip())
    return lines


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print a table to stdout, with a bold head on a terminal."""
    first, *rest = format_table(head, rows, right=right)
    typer.secho(first, bold=True)  # click leaves out the colour where stdout is no terminal
    for line in rest:
        typer.echo(line)


def print_json(value: Any) -> None:
    """Print one JSON document to stdout."""
    json.dump(value, sys.stdout, indent=2)  # ASCII, so that a file name that is not valid text still makes valid JSON
    sys.stdout.write("\n")
