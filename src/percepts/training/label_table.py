"""Read a CSV of sources and what is known of them, with absolute paths."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

Row = dict[str, str]


def read_label_table(path: str | Path, columns: Sequence[str]) -> list[Row]:
    """Return the rows of a CSV with a header. A relative `source` is relative to the folder of the CSV.

    ValueError for a column that is missing (the message lists the columns there are), for a table without rows, and for
    a source that occurs twice.
    """
    path = Path(path)
    # utf-8-sig: Excel begins its CSV files with a byte order mark.
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
        # abspath and not resolve: job directories keep the path of a link, not that of its target.
        row["source"] = os.path.abspath(path.parent / row["source"])
        if row["source"] in seen:
            raise ValueError(f"{path}: {row['source']} is there twice")
        seen.add(row["source"])
    return rows


def label_by_folder(sources: Sequence[str]) -> list[Row]:
    """Label each source with the name of the folder that it is in."""
    return [{"source": source, "label": Path(source).parent.name} for source in sources]
