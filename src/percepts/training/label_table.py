"""A CSV of sources and what is known of them in, rows with absolute paths out."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

Row = dict[str, str]


def read_label_table(path: str | Path, columns: Sequence[str]) -> list[Row]:
    """The rows of a CSV with a header; `source` becomes absolute, seen from the CSV's own folder.

    ValueError for a column that is not there, naming those there are, for no rows and for a source that is there twice.
    """
    path = Path(path)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        rows = [dict(row) for row in reader]
        there = list(reader.fieldnames or ())
    if missing := [name for name in ("source", *columns) if name not in there]:
        raise ValueError(f"{path}: expected columns {', '.join(missing)}; it has {', '.join(there) or 'none'}")
    if not rows:
        raise ValueError(f"{path}: no rows below its header")
    seen: set[str] = set()
    for row in rows:
        row["source"] = os.path.abspath(path.parent / row["source"])
        if row["source"] in seen:
            raise ValueError(f"{path}: {row['source']} is there twice")
        seen.add(row["source"])
    return rows


def label_by_folder(sources: Sequence[str]) -> list[Row]:
    """Each source labelled by the name of the folder it lies in."""
    return [{"source": source, "label": Path(source).parent.name} for source in sources]
