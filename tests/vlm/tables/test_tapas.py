"""TAPAS picks what transformers' own call picks, of any table; what it did not read it says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from percepts.errors import QuestionError, TableError, UnknownModel
from percepts.tasks.ask_table import _answer_question, ask_table
from percepts.vlm.families import ASK_TABLE, load_model, resolve_model
from percepts.vlm.tables.table import Table
from percepts.vlm.tables.tapas import Tapas
from percepts.weights.pretrained import silence_transformers

FRAME = pd.DataFrame(
    {"team": ["A", "B", "C", "D"], "games": ["10", "36", "5", "3"], "paid": ["$1,200", "$30", "", "$7"]}
)


@pytest.fixture
def folder(writer: Callable[[str], Path]) -> Path:
    return writer("tapas")


@pytest.fixture
def tapas(folder: Path) -> Tapas:
    model: Tapas = load_model(resolve_model(str(folder), ASK_TABLE))
    return model


def test_logits_and_cells_are_those_of_a_direct_call(folder: Path, tapas: Tapas) -> None:
    with silence_transformers():
        tokenizer = transformers.TapasTokenizer.from_pretrained(folder)
        model = transformers.TapasForQuestionAnswering.from_pretrained(folder).eval()
        inputs = tokenizer(table=FRAME.astype(str), queries=["how many games?"], return_tensors="pt")
        with torch.no_grad():
            direct = model(**inputs)
        cells, operations = tokenizer.convert_logits_to_predictions(
            dict(inputs), direct.logits.clone(), direct.logits_aggregation
        )
    table = Table.read(FRAME)
    logits, aggregation = tapas.logits(tapas.encode_table(table, "how many games?")[1])
    np.testing.assert_allclose(logits, direct.logits[0].numpy(), atol=1e-5)  # another order of sums
    assert aggregation is not None
    np.testing.assert_allclose(aggregation, direct.logits_aggregation[0].numpy(), atol=1e-5)
    picked = tapas.pick_cells(table, "how many games?")
    assert [(cell.row, cell.column) for cell in picked.cells] == cells[0]
    assert picked.operation == ["NONE", "SUM", "AVERAGE", "COUNT"][operations[0]]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[tuple[int, int]], int], None]:
    """Make the model pick these cells, (row, column) as it sees them, and this operation."""

    def script(cells: list[tuple[int, int]], operation: int) -> None:
        def logits(self: Tapas, encoded: Any) -> tuple[np.ndarray, np.ndarray]:
            kinds = encoded["token_type_ids"][0]
            chosen = [kinds[:, 0] * ((kinds[:, 2] == row + 1) & (kinds[:, 1] == column + 1)) for row, column in cells]
            return np.where(sum(chosen, kinds[:, 0] * 0), 4.0, -4.0), np.eye(4, dtype=np.float32)[operation] * 9

        monkeypatch.setattr(Tapas, "logits", logits)

    return script


@pytest.mark.parametrize(
    ("cells", "operation", "text", "value", "unit"),
    [
        ([(0, 1), (1, 1), (2, 1)], 1, "51", 51.0, ""),
        ([(0, 2), (1, 2), (3, 2)], 1, "$1,237", 1237.0, "$"),
        ([(0, 1), (1, 1), (2, 1), (3, 1)], 2, "13.5", 13.5, ""),
        ([(0, 2)], 2, "$1,200", 1200.0, "$"),
        ([(0, 0), (1, 0), (3, 0)], 3, "3", 3.0, ""),
        ([(1, 0)], 0, "B", None, ""),
        ([], 1, "", None, ""),
    ],
)
def test_the_answer_is_computed(
    cells: list[tuple[int, int]], operation: int, text: str, value: float | None, unit: str, folder: Path, scripted: Any
) -> None:
    scripted(cells, operation)
    found = ask_table(FRAME, "how much?", model=str(folder))
    assert (found.text, found.value, found.unit) == (text, value, unit)
    assert list(found.coordinates) == cells and found.rows == (0, 1, 2, 3) and found.note == ""
    assert [cell.text for cell in found.cells] == [FRAME.iat[cell] for cell in cells]
    assert all(0.98 < cell.score <= 1 for cell in found.cells) and (0.9 < found.score <= 1 or not cells)


class Scripted(Tapas):
    """Picks the cells and names the operation that a test says."""

    script: tuple[set[tuple[int, int]], int] = (set(), 0)

    def logits(self, encoded: Any) -> tuple[np.ndarray, np.ndarray]:
        kinds, (cells, operation) = encoded["token_type_ids"][0], self.script
        picked = [bool(kind[0]) and (kind[2] - 1, kind[1] - 1) in cells for kind in kinds]
        return np.where(picked, 4.0, -4.0), np.eye(4, dtype=np.float32)[operation] * 9


COLUMNS = {
    "whole": st.lists(st.integers(-9999, 9999), min_size=6, max_size=6).map(pd.Series),
    "broken": st.lists(st.none() | st.integers(-99999, 99999).map(lambda n: n / 100), min_size=6, max_size=6).map(
        lambda values: pd.Series(values, dtype=float)
    ),
    "nullable": st.lists(st.none() | st.integers(0, 99), min_size=6, max_size=6).map(
        lambda values: pd.Series(values, dtype="Int64")
    ),
}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frame=st.fixed_dictionaries(COLUMNS).map(pd.DataFrame), data=st.data())
def test_answers_of_any_table_and_selection_are_those_of_pandas(frame: pd.DataFrame, data: st.DataObject) -> None:
    column = data.draw(st.sampled_from(sorted(COLUMNS)))
    rows = data.draw(st.lists(st.integers(0, 5), min_size=1, unique=True).map(sorted))
    written = data.draw(st.sampled_from(["as it is", "in dollars"]))
    values = frame[column].iloc[rows].astype(float)
    if written == "in dollars":
        frame = frame.assign(**{column: [None if pd.isna(v) else f"${float(v):,.2f}" for v in frame[column]]})
    asked = SCRIPTED[0]
    for operation, expected in ((1, values.sum()), (2, values.mean()), (3, values.count())):
        asked.script = ({(row, list(frame).index(column)) for row in rows}, operation)
        found = _answer_question(asked, Table.read(frame), "how much?")
        there = [row for row in rows if not pd.isna(frame[column].iloc[row])]  # a missing cell has no token to pick
        assert [cell.row for cell in found.cells] == there and {cell.name for cell in found.cells} <= {column}
        if operation != 3 and not values.count():
            assert found.value is None
            continue
        assert found.value == pytest.approx(expected, abs=1e-6)  # pandas adds floats, ours decimals
        assert found.unit == ("$" if written == "in dollars" and operation != 3 else "")


SCRIPTED: list[Scripted] = []
"""Made once: hypothesis wants no fixture of a function's own."""


@pytest.fixture(scope="module", autouse=True)
def _scripted(writer: Callable[[str], Path]) -> None:
    SCRIPTED.append(Scripted(resolve_model(str(writer("tapas")), ASK_TABLE)))


def test_any_types_and_missing_cells_are_no_trouble(folder: Path) -> None:
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, None], "t": ["a", None], "d": pd.to_datetime(["2020-01-05", None])})
    with silence_transformers(), pytest.raises(Exception, match="not iterable"):  # what transformers says of the same
        transformers.TapasTokenizer.from_pretrained(folder)(table=frame, queries=["how?"])
    found = ask_table(frame, ["how many?", "what is t?"], model=str(folder))
    assert [answer.question for answer in found] == ["how many?", "what is t?"]


def test_several_questions_at_once_are_each_by_itself(folder: Path) -> None:
    questions = ["how many games?", "which team was paid most?", "a"]
    together = ask_table(FRAME, questions, model=str(folder))
    assert together == [ask_table(FRAME, question, model=str(folder)) for question in questions]


def test_rows_that_do_not_fit_are_left_out_and_said_so(
    folder: Path, scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    frame = pd.DataFrame({"n": [str(i) for i in range(1000)], "m": ["x"] * 1000})
    scripted([(0, 0), (1, 0)], 1)
    with caplog.at_level(logging.WARNING, "percepts"):
        found = ask_table(frame, "sum?", model=str(folder))
    assert 50 < len(found.rows) < 128 and found.rows == tuple(range(len(found.rows)))
    assert f"read {len(found.rows)} of 1000 rows" in found.note and found.note in caplog.text
    chosen = ask_table(frame, "sum?", model=str(folder), rows=[500, 7])
    assert (chosen.text, chosen.rows, chosen.coordinates, chosen.note) == ("507", (500, 7), ((500, 0), (7, 0)), "")
    with pytest.raises(QuestionError, match=r"room for .* of the 400 rows chosen"):
        ask_table(frame, "sum?", model=str(folder), rows=range(400))


def test_long_cells_are_cut_before_rows_are_left_out_and_said_so(tapas: Tapas) -> None:
    frame = pd.DataFrame({"text": ["abcdefgh " * 20] * 6, "n": ["1"] * 6})
    picked = tapas.pick_cells(Table.read(frame), "how many?")
    assert picked.rows == tuple(range(6)) and picked.note == "long cells were cut"


def test_what_cannot_be_asked_is_named(folder: Path, writer: Callable[[str], Path]) -> None:
    with pytest.raises(QuestionError, match="leave no room for a row"):
        ask_table(FRAME, "how many games " * 100, model=str(folder))
    with pytest.raises(QuestionError, match="none of them blank"):
        ask_table(FRAME, " ", model=str(folder))
    with pytest.raises(TableError, match="300 columns"):
        ask_table({f"c{i}": [1] for i in range(300)}, "how?", model=str(folder))
    with pytest.raises(UnknownModel, match="answer questions about tables for model_type 'blip'"):
        ask_table(FRAME, "how?", model=str(writer("blip")))
