"""Read a DataFrame, a CSV or a Parquet file as a table of texts: a header and the rows that are requested."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ...errors import TableError
from .aggregation import parse_number

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
"""Suffixes of table files."""
MAX_ROWS = 255
"""Rows read where none are named: more than any table model takes."""


@dataclass(frozen=True, slots=True)
class Table:
    """Texts in rows and columns.

    columns   names of the columns
    rows      as texts, "" where a cell is missing
    numbers   of these rows in the complete table, from 0
    total     rows of the complete table
    source    name of the table for messages
    chosen    whether the caller named the rows
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    total: int
    source: str = ""
    chosen: bool = False

    @classmethod
    def read(
        cls,
        data: Any,
        *,
        columns: Sequence[str] | None = None,
        rows: Sequence[int] | None = None,
        limit: int = MAX_ROWS,
    ) -> Table:
        """Read a path, a DataFrame, a mapping of columns or a sequence of mappings.

        columns   names for a table that has none
        rows      numbers of the rows to read, from 0; None: the first `limit`
        Raises TableError for a table without a header, without rows, or with rows of several lengths.
        """
        header, data_rows, source = _open_table(data, columns is not None)
        names = tuple(str(name).strip() for name in (header if columns is None else columns))
        _check_header(names, header, source)
        row_numbers = None if rows is None else _check_row_numbers(rows)
        kept_rows: dict[int, tuple[str, ...]] = {}
        total = 0
        # All rows are counted, because the note of an answer names the total.
        for number, row in enumerate(data_rows):
            total += 1
            if len(row) != len(names):
                raise TableError(f"{source}: row {number + 1} has {len(row)} cells, the header {len(names)}")
            if number in row_numbers if row_numbers is not None else number < limit:
                kept_rows[number] = tuple(map(cell_text, row))
        order = tuple(kept_rows) if row_numbers is None else tuple(row_numbers)
        if missing := [number for number in order if number not in kept_rows]:
            raise TableError(f"{source}: no row {missing[0]}: it has {total}, numbered from 0")
        if not kept_rows:
            raise TableError(f"{source}: the table has no rows")
        return cls(names, tuple(kept_rows[number] for number in order), order, total, source, row_numbers is not None)

    def first(self, count: int) -> Table:
        """Return the table with its first `count` rows."""
        return replace(self, rows=self.rows[:count], numbers=self.numbers[:count])


def is_table(source: Any) -> bool:
    """Return whether a source is a table: a DataFrame, a mapping, or a file with a suffix of a table."""
    if isinstance(source, str | Path):
        return Path(source).suffix.lower() in TABLE_SUFFIXES
    return not isinstance(source, bytes)


def cell_text(value: Any) -> str:
    """Return a cell as text: "" where it is missing, whole numbers without a point, dates without midnight.

    >>> [cell_text(v) for v in (5, 5.0, None, float("nan"), "x", datetime.datetime(2020, 1, 5))]
    ['5', '5', '', '', 'x', '2020-01-05']
    """
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()  # of numpy
    # By name, because pandas need not be installed.
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return ""
    if isinstance(value, float):
        # 15 digits: 0.1 + 0.2 is written 0.3.
        return "" if math.isnan(value) else f"{value:.15g}"
    if isinstance(value, decimal.Decimal):
        return "" if value.is_nan() else str(value)
    if isinstance(value, datetime.datetime):
        return str(value.date() if value.time() == datetime.time() else value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return " ".join(str(value).split())


OpenedTable = tuple[Sequence[Any], Iterable[Sequence[Any]], str]
"""Header, rows, and the name for messages."""


def _open_table(data: Any, headless: bool) -> OpenedTable:
    """Return header, rows and name of any kind of table."""
    if isinstance(data, str | Path):
        path = Path(data)
        if path.suffix.lower() == ".parquet":
            return _open_parquet(path)
        return _open_csv(path, headless)
    if hasattr(data, "itertuples"):
        return list(data.columns), data.itertuples(index=False, name=None), "the DataFrame"
    if isinstance(data, Mapping):
        if len({len(column) for column in data.values()}) > 1:
            raise TableError("expected columns of one length")
        return list(data), zip(*data.values(), strict=True), "the table"
    if isinstance(data, Sequence) and data and all(isinstance(row, Mapping) for row in data):
        # In the order of their first appearance, because a row may lack some.
        names = list(dict.fromkeys(name for row in data for name in row))
        return names, ([row.get(name) for name in names] for row in data), "the table"
    raise TableError(
        f"expected a DataFrame, a mapping of columns or a path of {', '.join(TABLE_SUFFIXES)}, got {type(data)}"
    )


def _open_csv(path: Path, headless: bool) -> OpenedTable:
    """Return header and rows of a CSV file; the separator is the one most frequent in its first line."""
    # utf-8-sig: Excel writes a byte order mark.
    with path.open(encoding="utf-8-sig", errors="strict", newline="") as file:
        try:
            # Enough to see the header, the separator and binary data.
            head = file.read(1 << 16)
        except UnicodeDecodeError as error:
            raise TableError(f"{path}: expected text in UTF-8: {error}") from error
    if "\x00" in head or not head.strip():
        raise TableError(f"{path}: expected rows of text, found {'binary data' if head.strip() else 'nothing'}")
    # On a tie the comma, which stands first.
    separator = max(",;\t|", key=head.splitlines()[0].count)
    first = next(csv.reader(io.StringIO(head, newline=""), delimiter=separator))
    return first, _read_csv_rows(path, separator, skip=not headless), str(path)


def _read_csv_rows(path: Path, separator: str, skip: bool) -> Iterator[list[str]]:
    """Yield the rows of a CSV file that are not empty."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            for row in islice(csv.reader(file, delimiter=separator), int(skip), None):
                if row:
                    yield row
        except (csv.Error, UnicodeDecodeError) as error:
            raise TableError(f"{path}: damaged: {error}") from error


def _open_parquet(path: Path) -> OpenedTable:
    """Return header and rows of a Parquet file."""
    # here, because tables of other kinds do not need it
    import pyarrow
    import pyarrow.parquet as parquet

    with path.open("rb"):
        pass  # a missing file is Python's own error
    try:
        names = parquet.ParquetFile(path).schema_arrow.names
    except pyarrow.ArrowInvalid as error:
        raise TableError(f"{path}: not a Parquet file: {error}") from error
    return names, _read_parquet_rows(path), str(path)


def _read_parquet_rows(path: Path) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a Parquet file, 1024 at a time in memory."""
    import pyarrow.parquet as parquet

    for batch in parquet.ParquetFile(path).iter_batches(batch_size=1024):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _check_header(names: Sequence[str], header: Sequence[Any], source: str) -> None:
    """Raise TableError for a header that is missing or does not fit.

    A first row of nothing but numbers is data, and a header made by counting the columns is no header.
    """
    if not names or all(not name or parse_number(name) is not None for name in names):
        shown = ", ".join(map(str, header[:5]))
        raise TableError(
            f"{source}: no header: expected names of columns in the first row, got {shown or 'nothing'}; "
            "give the names as columns"
        )
    if len(names) != len(header):
        raise TableError(f"{source}: {len(names)} names for {len(header)} columns")


def _check_row_numbers(rows: Sequence[int]) -> dict[int, None]:
    """Return the row numbers without repeats, in order; TableError where there are none."""
    if not rows:
        raise TableError("expected at least one row to read, got none")
    return dict.fromkeys(int(number) for number in rows)
