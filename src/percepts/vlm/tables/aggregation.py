"""Cells as people write them → exact numbers with their units, and sums and means of them, written the same way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Aggregation = Literal["NONE", "SUM", "AVERAGE", "COUNT"]
MISSING_CELLS = frozenset({"", "-", "–", "—", "n/a", "na", "nan", "none", "null", "?"})
"""What stands in a cell that has no value, in lower case."""

_SPACE = " \u00a0\u2009\u202f'\u2019"  # between thousands: spaces, no-break and thin ones too, and apostrophes
_DIGITS = rf"\d{{1,3}}(?:[{_SPACE}]\d{{3}})+(?:[.,]\d+)?|\d[\d.,]*(?:[eE][+-]?\d+)?|\.\d+"
_BEFORE = r"[A-Z]{3}(?=[\s\d+−-])|[^\W\d_]{0,3}[^\w\s().,+−–-]"  # a currency's code or sign: "A1" is no number
_NUMBER = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+−–]?)\s*(?P<before>{_BEFORE}|)\s*(?P<sign2>[-−]?)\s*(?P<digits>{_DIGITS})"
    r"\s*(?P<after>[^\d()]*?)\s*(?P<close>\))?"
)


@dataclass(frozen=True, slots=True)
class Number:
    """A number, exactly as written, with what stood around it.

    before, after   unit before and after it: "$", "%", "km"
    places          digits after the decimal point
    grouped         what separated its thousands, "" where nothing did
    point           its decimal point
    spaced          whether a space stood before `after`
    """

    value: Decimal
    before: str = ""
    after: str = ""
    places: int = 0
    grouped: str = ""
    point: str = "."
    spaced: bool = False


def is_missing(cell: str) -> bool:
    """Whether a cell has no value."""
    return cell.strip().lower() in MISSING_CELLS


def parse_number(text: str) -> Number | None:
    """The number in a cell, or None where the cell is no single number with, at most, a unit.

    Thousands are separated by commas, points, spaces or apostrophes; a lone comma before any number of digits but three
    is a decimal one. Negative are those with a minus or in parentheses. A lone group of three ("1,234") is thousands
    with a comma and decimals with a point, as in English.

    >>> [str(parse_number(t).value) for t in ("1,234.5", "($1,200)", "45%", "12,5 km", "1.234.567")]
    ['1234.5', '-1200', '45', '12.5', '1234567']
    """
    found = _NUMBER.fullmatch(text.strip())
    if found is None or bool(found["open"]) != bool(found["close"]):
        return None
    read = _parse_digits(found["digits"])
    if read is None:
        return None
    value, places, grouped, point = read
    negative = bool(found["open"]) + (found["sign"] not in ("", "+")) + bool(found["sign2"])
    if negative > 1:
        return None
    after = found["after"].strip()
    spaced = bool(after) and text[: text.rindex(after)].endswith(" ")
    return Number(-value if negative else value, found["before"], after, places, grouped, point, spaced)


def _parse_digits(text: str) -> tuple[Decimal, int, str, str] | None:
    """Value, decimals, separator of thousands, decimal point."""
    spaces = "".join(sorted({c for c in text if c in _SPACE}))
    if len(spaces) > 1:
        return None
    mantissa, _, exponent = text.replace(spaces or " ", "").lower().partition("e")
    commas, points = mantissa.count(","), mantissa.count(".")
    point = "."
    if commas and points:
        point = max(",.", key=mantissa.rindex)
    elif (
        commas == 1 and (spaces or not re.fullmatch(r"\d{1,3},\d{3}", mantissa) or mantissa.startswith("0,"))
    ) or points > 1:
        point = ","
    group = "." if point == "," else ","
    whole, _, decimals = mantissa.partition(point)
    grouped = group if group in whole else spaces
    if (
        group in decimals
        or point in decimals
        or (group in whole and not re.fullmatch(rf"\d{{1,3}}(\{group}\d{{3}})+", whole))
    ):
        return None
    plain = f"{whole.replace(group, '') or '0'}.{decimals or '0'}"
    return Decimal(f"{plain}e{exponent}" if exponent else plain).normalize() + 0, len(decimals), grouped, point


@dataclass(frozen=True, slots=True)
class AggregateResult:
    """What came of some cells.

    text    as an answer; the cells themselves, comma by comma, where there is nothing to compute or it cannot be done
    value   the number in it; None where it is none
    unit    its unit, before or after it
    note    why it could not be computed, "" where all is well
    """

    text: str
    value: float | None = None
    unit: str = ""
    note: str = ""


def aggregate(operation: Aggregation, cells: Sequence[str]) -> AggregateResult:
    """Do to the cells what the model says. Missing cells count for nothing, as in pandas.

    The result is written as the cells are: their unit, their separators, their decimals. The mean of one cell and the
    sum of one cell is the cell. Nothing is computed of cells with different units or without numbers: the note says so.

    >>> aggregate("SUM", ["$1,200", "$300.50", "n/a"])
    Computed(text='$1,500.50', value=1500.5, unit='$', note='')
    >>> aggregate("AVERAGE", ["36 km"]).text, aggregate("COUNT", ["a", "b", ""]).text
    ('36 km', '2')
    """
    present = [cell.strip() for cell in cells if not is_missing(cell)]
    listed = ", ".join(present)
    if operation == "COUNT":
        return AggregateResult(str(len(present)), float(len(present)))
    numbers = [parse_number(cell) for cell in present]
    if operation == "NONE" or not present:
        single = numbers[0] if len(numbers) == 1 else None
        return AggregateResult(listed, _to_float(single), _get_unit(single))
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        odd = present[numbers.index(None)]
        return AggregateResult(listed, note=f"no {operation} of what is no number: {odd!r}")
    units = sorted({_get_unit(number) for number in known} - {""})
    if len(units) > 1:
        return AggregateResult(listed, note=f"no {operation} over different units: {', '.join(units)}")
    if len(known) == 1:
        return AggregateResult(present[0], _to_float(known[0]), _get_unit(known[0]))
    total = sum((number.value for number in known), Decimal(0))
    value = total if operation == "SUM" else total / len(known)
    return AggregateResult(
        _format_like(value, known, more=0 if operation == "SUM" else 2), float(value), units[0] if units else ""
    )


def _format_like(value: Decimal, like: Sequence[Number], more: int) -> str:
    """A number as those are written, with up to `more` decimals beyond theirs where they are needed."""
    places = max(number.places for number in like)
    digits = f"{abs(value):.{places + more}f}"
    if more:
        whole, _, decimals = digits.partition(".")
        decimals = decimals[:places] + decimals[places:].rstrip("0")
        digits = f"{whole}.{decimals}" if decimals else whole
    model = next((n for n in like if _get_unit(n)), like[0])
    grouped = next((n.grouped for n in like if n.grouped), "")
    point = next((n.point for n in like if n.places), "." if grouped != "." else ",")
    whole, _, decimals = digits.partition(".")
    whole = re.sub(r"(?<=\d)(?=(\d{3})+$)", grouped, whole) if grouped else whole
    sign = "-" if value < 0 and float(digits) else ""
    after = (" " if model.spaced else "") + model.after if model.after else ""
    return f"{sign}{model.before}{whole}{point + decimals if decimals else ''}{after}"


def _get_unit(number: Number | None) -> str:
    return "" if number is None else number.before or number.after


def _to_float(number: Number | None) -> float | None:
    return None if number is None else float(number.value)
