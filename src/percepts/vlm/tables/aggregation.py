"""Parse numbers with units as people write them in cells, and compute sums and means written the same way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Aggregation = Literal["NONE", "SUM", "AVERAGE", "COUNT"]
MISSING_CELLS = frozenset({"", "-", "–", "—", "n/a", "na", "nan", "none", "null", "?"})
"""Texts of a cell without a value, in lower case."""

_SPACE = " \u00a0\u2009\u202f'\u2019"  # between thousands: spaces (no-break and thin ones too) and apostrophes
_DIGITS = rf"\d{{1,3}}(?:[{_SPACE}]\d{{3}})+(?:[.,]\d+)?|\d[\d.,]*(?:[eE][+-]?\d+)?|\.\d+"
_BEFORE = r"[A-Z]{3}(?=[\s\d+−-])|[^\W\d_]{0,3}[^\w\s().,+−–-]"  # code or sign of a currency; "A1" is no number
_NUMBER = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+−–]?)\s*(?P<before>{_BEFORE}|)\s*(?P<sign2>[-−]?)\s*(?P<digits>{_DIGITS})"
    r"\s*(?P<after>[^\d()]*?)\s*(?P<close>\))?"
)


@dataclass(frozen=True, slots=True)
class Number:
    """A number, exactly as written, with the text around it.

    before, after   unit before and after it: "$", "%", "km"
    places          digits after the decimal point
    grouped         separator of its thousands, "" where there is none
    point           its decimal point
    spaced          whether a space stands before `after`
    """

    value: Decimal
    before: str = ""
    after: str = ""
    places: int = 0
    grouped: str = ""
    point: str = "."
    spaced: bool = False


def is_missing(cell: str) -> bool:
    """Return whether a cell has no value."""
    return cell.strip().lower() in MISSING_CELLS


def parse_number(text: str) -> Number | None:
    """Return the number in a cell, or None where the cell is not one number with, at most, a unit.

    Thousands are separated by commas, points, spaces or apostrophes. A single comma is a decimal comma unless three
    digits follow it. A number with a minus or in parentheses is negative. One group of three digits ("1,234") is
    thousands after a comma and decimals after a point, as in English.

    >>> [str(parse_number(t).value) for t in ("1,234.5", "($1,200)", "45%", "12,5 km", "1.234.567")]
    ['1234.5', '-1200', '45', '12.5', '1234567']
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    digits = _parse_digits(match["digits"])
    if digits is None:
        return None
    value, places, grouped, point = digits
    negative = bool(match["open"]) + (match["sign"] not in ("", "+")) + bool(match["sign2"])
    if negative > 1:
        return None
    after = match["after"].strip()
    spaced = bool(after) and text[: text.rindex(after)].endswith(" ")
    return Number(-value if negative else value, match["before"], after, places, grouped, point, spaced)


def _parse_digits(text: str) -> tuple[Decimal, int, str, str] | None:
    """Return value, decimals, separator of thousands and decimal point; None where the digits are no number."""
    spaces = "".join(sorted({c for c in text if c in _SPACE}))
    if len(spaces) > 1:
        return None
    mantissa, _, exponent = text.replace(spaces or " ", "").lower().partition("e")
    commas, points = mantissa.count(","), mantissa.count(".")
    point = "."
    if commas and points:
        # Where both occur, the last one is the decimal point.
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
    # `+ 0` writes 1E+3, which normalize makes of 1000, as 1000 again.
    return Decimal(f"{plain}e{exponent}" if exponent else plain).normalize() + 0, len(decimals), grouped, point


@dataclass(frozen=True, slots=True)
class AggregateResult:
    """The result of combining cells.

    text    the answer; the cells themselves, separated by commas, where nothing can be computed
    value   the number in the answer; None where it has none
    unit    its unit, before or after it
    note    why it could not be computed, "" where it was
    """

    text: str
    value: float | None = None
    unit: str = ""
    note: str = ""


def aggregate(operation: Aggregation, cells: Sequence[str]) -> AggregateResult:
    """Combine cells as the model says. Missing cells are skipped, as in pandas.

    The result is written as the cells are: with their unit, separators and decimals. The mean and the sum of one cell
    are the cell. Cells with different units or without numbers are not combined: the note says so.

    >>> aggregate("SUM", ["$1,200", "$300.50", "n/a"])
    AggregateResult(text='$1,500.50', value=1500.5, unit='$', note='')
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
    # Decimals: a sum of money must not show binary rounding.
    total = sum((number.value for number in known), Decimal(0))
    value = total if operation == "SUM" else total / len(known)
    return AggregateResult(
        _format_like(value, known, extra_places=0 if operation == "SUM" else 2), float(value), units[0] if units else ""
    )


def _format_like(value: Decimal, like: Sequence[Number], extra_places: int) -> str:
    """Write a number as the others are written, with up to `more` decimals beyond theirs where needed."""
    places = max(number.places for number in like)
    digits = f"{abs(value):.{places + extra_places}f}"
    if extra_places:
        whole, _, decimals = digits.partition(".")
        decimals = decimals[:places] + decimals[places:].rstrip("0")
        digits = f"{whole}.{decimals}" if decimals else whole
    # The first number with a unit says how to write it.
    model = next((n for n in like if _get_unit(n)), like[0])
    grouped = next((n.grouped for n in like if n.grouped), "")
    point = next((n.point for n in like if n.places), "." if grouped != "." else ",")
    whole, _, decimals = digits.partition(".")
    whole = re.sub(r"(?<=\d)(?=(\d{3})+$)", grouped, whole) if grouped else whole
    # No sign before a zero that was rounded from a small number.
    sign = "-" if value < 0 and float(digits) else ""
    after = (" " if model.spaced else "") + model.after if model.after else ""
    return f"{sign}{model.before}{whole}{point + decimals if decimals else ''}{after}"


def _get_unit(number: Number | None) -> str:
    """Return the unit of a number, "" where it has none."""
    return "" if number is None else number.before or number.after


def _to_float(number: Number | None) -> float | None:
    """Return the value of a number as float, None for None."""
    return None if number is None else float(number.value)
