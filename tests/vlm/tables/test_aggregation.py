"""Cells are read as people write them, and what is computed of them is what pandas computes."""

from __future__ import annotations

import math
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from percepts.vlm.tables.aggregation import aggregate, parse_number


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("5", "5", ""), ("-5", "-5", ""), ("−5", "-5", ""), ("+5", "5", ""), ("(5)", "-5", ""), (".5", "0.5", ""),
        ("1,234", "1234", ""), ("1,234,567.89", "1234567.89", ""), ("1.234.567,89", "1234567.89", ""),
        ("1 234 567", "1234567", ""), ("1\u202f234,5", "1234.5", ""), ("1'234", "1234", ""), ("12,5", "12.5", ""),
        ("0,125", "0.125", ""), ("1.234", "1.234", ""), ("$1,200", "1200", "$"), ("($1,200.50)", "-1200.50", "$"),
        ("-$5", "-5", "$"), ("$-5", "-5", "$"), ("€ 3", "3", "€"), ("45%", "45", "%"), ("45 %", "45", "%"),
        ("12.5 km", "12.5", "km"), ("3kg", "3", "kg"), ("1.2 million", "1.2", "million"), ("USD 7", "7", "USD"),
        ("1e3", "1000", ""), ("10 km/h", "10", "km/h"),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(text: str, value: str, unit: str) -> None:
    found = parse_number(text)
    assert found is not None and found.value == Decimal(value) and (found.before or found.after) == unit


@pytest.mark.parametrize(
    "text",
    ["", "abc", "1-2", "3 (2 wins)", "12 March 2024", "2020-01-05", "1,23,456", "1,2,3", "(5", "5)", "- -5", "A1", "c0",
     "Q3", "Room 12", "(-5)",
     "1.2.3.4,5,6", "--"],
)  # fmt: skip
def test_what_is_no_single_number_is_none(text: str) -> None:
    assert parse_number(text) is None


WAYS = {  # how a column is written: a number to a text
    "plain": lambda n: f"{n}",
    "thousands": lambda n: f"{n:,}",
    "dollars": lambda n: f"${n:,}" if n >= 0 else f"(${-n:,})",
    "percent": lambda n: f"{n}%",
    "unit": lambda n: f"{n:,} km",
    "european": lambda n: f"{n:,}".replace(",", " ").replace(".", ","),
}
UNITS = {"dollars": "$", "percent": "%", "unit": "km"}


@given(
    numbers=st.lists(
        st.one_of(st.none(), st.decimals(-(10**7), 10**7, places=2), st.integers(-(10**7), 10**7).map(Decimal)),
        min_size=1, max_size=12,
    ),
    way=st.sampled_from(sorted(WAYS)),
    data=st.data(),
)  # fmt: skip
def test_aggregates_of_any_selection_are_those_of_pandas(
    numbers: list[Decimal | None], way: str, data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(numbers) - 1), unique=True, max_size=len(numbers)))
    cells = ["" if n is None else WAYS[way](n) for n in numbers]
    picked = [cells[i] for i in chosen]
    series = pd.Series([None if numbers[i] is None else float(numbers[i]) for i in chosen], dtype=float)  # type: ignore[arg-type]

    assert aggregate("COUNT", picked).value == series.count()
    total, mean = aggregate("SUM", picked), aggregate("AVERAGE", picked)
    if series.count() == 0:
        assert total.value is None and mean.value is None and total.text == mean.text == ""
        return
    # pandas adds floats, ours decimals: the difference is float noise of sums of 12 numbers up to 1e7
    assert total.value == pytest.approx(series.sum(), abs=1e-6)
    assert mean.value == pytest.approx(series.mean(), abs=1e-6)
    assert total.unit == mean.unit == UNITS.get(way, "")
    if series.count() == 1:
        (only,) = [cell for cell in picked if cell]
        assert total.text == mean.text == only
    again = parse_number(total.text)
    assert again is not None and float(again.value) == pytest.approx(total.value, abs=1e-6)
    rounded = parse_number(mean.text)
    assert rounded is not None and math.isclose(float(rounded.value), mean.value, abs_tol=5e-3)  # two decimals beyond


def test_the_notebooks_sum_is_computed_and_an_average_of_one_is_the_cell() -> None:
    assert aggregate("SUM", ["10", "36", "108"]).text == "154"  # the book printed "SUM > 10, 36, 108"
    assert aggregate("AVERAGE", ["36"]).text == "36"
    assert aggregate("NONE", ["Lyon", "Paris"]).text == "Lyon, Paris"
    assert aggregate("AVERAGE", ["1", "2", "2"]).text == "1.67"


@pytest.mark.parametrize("cells", [["$1", "€2"], ["5 km", "3 kg"], ["3", "abc"]])
def test_what_cannot_be_added_is_not_and_says_why(cells: list[str]) -> None:
    found = aggregate("SUM", cells)
    assert found.value is None and found.text == ", ".join(cells) and found.note.startswith("no SUM")
