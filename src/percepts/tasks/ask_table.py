"""Answer questions about tables: the model picks the cells, and the exact arithmetic is done here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from ..errors import QuestionError
from ..vlm.families import ASK_TABLE, load_model, resolve_model
from ..vlm.tables.aggregation import Aggregation, aggregate
from ..vlm.tables.table import Table
from .answers import Answer, check_questions

if TYPE_CHECKING:
    from ..vlm.tables.tapas import Cell, Tapas

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAnswer(Answer):
    """An answer from a table; `text` is what was computed, written as the cells are.

    aggregation  what was done with the cells: SUM, AVERAGE, COUNT, or NONE
    value, unit  the number in the answer and its unit; value is None where the answer is no number
    cells        the cells that it was computed from, with row (from 0) and column in the table, and a score each
    rows         numbers of the rows that the model saw
    note         what the model did not see of the table, or why nothing could be computed; "" otherwise
    """

    aggregation: Aggregation
    value: float | None
    unit: str
    cells: tuple[Cell, ...]
    rows: tuple[int, ...]
    note: str = ""

    @property
    def coordinates(self) -> tuple[tuple[int, int], ...]:
        """(row, column) of each cell, from 0."""
        return tuple((cell.row, cell.column) for cell in self.cells)


@overload
def ask_table(
    table: Any, question: str, *, model: str, columns: Sequence[str] | None = ..., rows: Sequence[int] | None = ...
) -> TableAnswer: ...
@overload
def ask_table(
    table: Any,
    question: Sequence[str],
    *,
    model: str,
    columns: Sequence[str] | None = ...,
    rows: Sequence[int] | None = ...,
) -> list[TableAnswer]: ...


def ask_table(
    table: Any,
    question: str | Sequence[str],
    *,
    model: str,
    columns: Sequence[str] | None = None,
    rows: Sequence[int] | None = None,
) -> TableAnswer | list[TableAnswer]:
    """Answer questions about a table with TAPAS: pick the cells and what is done with them, and compute the result.

    Cells may be of any type, and missing. Numbers are read with their units, thousands separators, percent signs and
    negative parentheses; results are exact and written the same way. The mean over one cell is the cell.

    Args:
        table: a DataFrame, a mapping of columns, a sequence of mappings, or the path of a .csv, .tsv or .parquet.
        question: one, or several: then a list comes back.
        model: a Hugging Face model or the folder of one: TAPAS.
        columns: names for the columns of a table that has no header.
        rows: numbers of the rows to read, from 0, where the table is longer than the model reads (some 60 of five
            columns). None: the first that fit; `rows` of the answer says which, `note` says how many were left out,
            and a warning is logged.

    Raises:
        TableError: no table, no header, or more columns than the model reads.
        QuestionError: no question, or one that leaves no room for the table.
        UnknownModel: no model of that name, or none for tables.
        MissingExtra: without pandas.

    >>> import percepts
    >>> data = {"name": ["A", "B"], "hours": ["1,200", "34"]}
    >>> percepts.ask_table(data, "total hours?", model="google/tapas-base-finetuned-wtq").text  # doctest: +SKIP
    '1,234'
    """
    questions = check_questions(question)
    read = Table.read(table, columns=columns, rows=rows)
    # After the table is read: a table that cannot be used is reported without loading a model.
    spec = resolve_model(model, ASK_TABLE)
    tapas: Tapas = load_model(spec)
    found = [_answer_question(tapas, read, asked) for asked in questions]
    return found[0] if isinstance(question, str) else found


def _answer_question(tapas: Tapas, table: Table, question: str) -> TableAnswer:
    picked = tapas.pick_cells(table, question)
    if table.chosen and len(picked.rows) < len(table.rows):
        raise QuestionError(
            f"{tapas.spec.name} has room for {len(picked.rows)} of the {len(table.rows)} rows chosen beside this "
            "question; choose fewer"
        )
    computed = aggregate(picked.operation, [cell.text for cell in picked.cells])
    note = "; ".join(part for part in (picked.note, computed.note) if part)
    if note:
        log.warning("%s: %s: %s", table.source, question, note)
    # A table has no times: both are 0, as for an image.
    return TableAnswer(
        question=question, text=computed.text, score=picked.score, source=table.source, start=0.0, stop=0.0,
        model=tapas.spec.name, kind="text", aggregation=picked.operation, value=computed.value, unit=computed.unit,
        cells=picked.cells, rows=picked.rows, note=note,
    )  # fmt: skip
