"""Any table becomes texts in rows and columns, and what is no table is named."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from percepts.errors import TableError
from percepts.vlm.tables.table import Table

FRAME = pd.DataFrame(
    {
        "name": ["A", None, "C"],
        "count": [1, 2, 3],
        "part": [0.5, np.nan, 2.0],
        "maybe": pd.array([1, None, 3], dtype="Int64"),
        "day": pd.to_datetime(["2020-01-05", None, "2021-02-03 10:00"], format="mixed"),
        "sort": pd.Categorical(["x", "y", None]),
        "yes": [True, False, None],
    },
    index=[7, 7, 9],
)
TEXTS = (
    ("A", "1", "0.5", "1", "2020-01-05", "x", "True"),
    ("", "2", "", "", "", "y", "False"),
    ("C", "3", "2", "3", "2021-02-03 10:00:00", "", ""),
)


def test_a_frame_of_any_types_with_missing_cells_and_any_index() -> None:
    table = Table.read(FRAME)
    assert table.columns == tuple(FRAME.columns) and table.rows == TEXTS and table.total == 3


def test_a_file_reads_as_the_frame_it_was_written_from(tmp_path: Path) -> None:
    frame = pd.DataFrame({"name": ["a", "b, c"], "hours": ["1,200", ""], "n": [1, 2]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "semicolons.csv", index=False, sep=";", encoding="utf-8-sig")
    frame.to_parquet(tmp_path / "t.parquet")
    for path in tmp_path.iterdir():
        table = Table.read(path)
        assert (table.columns, table.rows) == (("name", "hours", "n"), (("a", "1,200", "1"), ("b, c", "", "2"))), path


def test_a_header_may_go_over_two_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('"name\nof team",games\nA,1\n')
    assert Table.read(tmp_path / "t.csv").columns == ("name\nof team", "games")


def test_mappings_are_tables() -> None:
    columns = {"a": [1, None], "b": ["x", datetime.date(2020, 1, 5)]}
    rows = [{"a": 1, "b": "x"}, {"b": datetime.date(2020, 1, 5)}]
    assert Table.read(columns) == Table.read(rows)
    assert Table.read(columns).rows == (("1", "x"), ("", "2020-01-05"))


def test_chosen_rows_come_in_the_order_asked_and_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    pd.DataFrame({"n": range(1000)}).to_csv(path, index=False)
    table = Table.read(path, rows=[900, 3])
    assert (table.rows, table.numbers, table.total) == ((("900",), ("3",)), (900, 3), 1000)
    assert Table.read(path).numbers == tuple(range(255))
    with pytest.raises(TableError, match="no row 1000: it has 1000"):
        Table.read(path, rows=[1000])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10,36,5\n1,2,3\n", "no header: expected names .* got 10, 36, 5; give the names as columns"),
        ("", "found nothing"),
        ("a,b\n", "the table has no rows"),
        ("a,b\n1,2\n1,2,3\n", "row 2 has 3 cells, the header 2"),
        ("a\x00b", "binary data"),
    ],
)
def test_what_is_no_table_is_named(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(TableError, match=says):
        Table.read(path)


def test_a_table_without_a_header_can_be_given_one(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("10,36\n1,2\n")
    assert Table.read(path, columns=["a", "b"]).rows == (("10", "36"), ("1", "2"))
    with pytest.raises(TableError, match="no header"):
        Table.read(pd.DataFrame([[1, 2], [3, 4]]))
    with pytest.raises(TableError, match="3 names for 2 columns"):
        Table.read(pd.DataFrame([[1, 2], [3, 4]]), columns=["a", "b", "c"])


def test_other_things_and_damaged_files_are_named(tmp_path: Path) -> None:
    for name in ("t.parquet", "t.csv"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00 no table")
        with pytest.raises(TableError, match=name):
            Table.read(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        Table.read(tmp_path / "absent.parquet")
    with pytest.raises(TableError, match="expected a DataFrame"):
        Table.read(5)
    with pytest.raises(TableError, match="one length"):
        Table.read({"a": [1], "b": [1, 2]})


def test_parquet_is_read_by_batches(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": list(range(5000))}), tmp_path / "t.parquet")
    assert Table.read(tmp_path / "t.parquet", rows=[4999]).rows == (("4999",),)
