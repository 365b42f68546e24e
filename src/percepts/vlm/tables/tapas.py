"""Answer a question about a table with TAPAS: it picks cells and says how to combine them.

Herzig et al. 2020 (arXiv 2004.02349). The model picks cells and names one of SUM, AVERAGE, COUNT, NONE; the arithmetic
is left to the caller and stands in `aggregation`. Features are those of transformers' TapasTokenizer, which needs
pandas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast, get_args

import numpy as np
import torch

from ...errors import MissingExtra, QuestionError, TableError, WeightsError
from ...weights import pretrained
from ..base import TransformersModel
from .aggregation import Aggregation
from .table import Table

CELL_THRESHOLD = 0.5
"""A cell is picked where the mean probability of its tokens is above this, as in the authors' code."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A picked cell: its place in the complete table, rows from 0, and its probability."""

    row: int
    column: int
    name: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class CellSelection:
    """The model's answer to a question.

    cells         picked cells, in reading order
    operation     how to combine them
    score         probability of the operation times the mean of the cells'
    rows          numbers of the rows that the model read
    note          which part of the table was not read, "" where all was read
    """

    cells: tuple[Cell, ...]
    operation: Aggregation
    score: float
    rows: tuple[int, ...]
    note: str = ""


class Tapas(TransformersModel):
    """Picks the cells of a table that answer a question."""

    model_class = "TapasForQuestionAnswering"

    @cached_property
    def tokenizer(self) -> Any:
        """Transformers' own tokenizer."""
        try:
            import pandas  # noqa: F401  # transformers' tokenizer of tables works on its DataFrame
        except ImportError as error:
            raise MissingExtra("questions about tables need pandas: pip install 'percepts[tables]'") from error
        import transformers

        with pretrained.silence_transformers(), pretrained.raise_weights_error(self.checkpoint.folder, "the tokenizer"):
            return transformers.TapasTokenizer.from_pretrained(self.checkpoint.folder, local_files_only=True)

    def pick_cells(self, table: Table, question: str) -> CellSelection:
        """Return the cells, the operation, and how much of the table was read.

        A table with more tokens than the model reads loses the ends of its long cells, then its last rows: the note
        says so. Raises QuestionError where the question leaves no room for a row, TableError for too many columns.
        """
        seen, encoded = self.encode_table(table, question)
        logits, operations = self.logits(encoded)
        kinds = encoded["token_type_ids"][0]
        rows_read = int(kinds[:, 2].max())
        # A sigmoid; exp of more than 88.7 overflows float32.
        picked = _select_cells(1 / (1 + np.exp(-np.clip(logits, -88.7, 88.7))), kinds, seen)
        operation, probability = self._read_operation(operations)
        score = probability * float(np.mean([cell.score for cell in picked])) if picked else 0.0
        return CellSelection(
            picked, operation, score, seen.numbers[:rows_read], self._describe_unread(table, seen, rows_read, kinds)
        )

    def encode_table(self, table: Table, question: str) -> tuple[Table, dict[str, np.ndarray]]:
        """Return the rows that may fit, and the model's inputs: ids, mask, and seven types for each token."""
        import pandas

        question_tokens = self.tokenizer.tokenize(question)
        config = self.checkpoint.config
        # The default of TapasConfig: segment, column, row, previous label, and three of numeric ranks and relations.
        sizes = config.get("type_vocab_sizes", [3, 256, 256, 2, 256, 256, 10])
        limit = min(int(config.get("max_position_embeddings", 512)), int(self.tokenizer.model_max_length))
        if len(table.columns) >= sizes[1]:
            raise TableError(f"{table.source}: {len(table.columns)} columns: {self.spec.name} reads {sizes[1] - 1}")
        # 2 for [CLS] and [SEP]; each header cell has at least one token.
        room = limit - len(question_tokens) - 2 - len(table.columns)
        seen = table.first(min(max(0, room) // len(table.columns), sizes[2] - 1))  # a cell has a token at least
        if not question_tokens or not seen.rows:
            raise QuestionError(
                f"a question of {len(question_tokens)} tokens and a header of {len(table.columns)} columns leave "
                f"no room for a row in the {limit} tokens that {self.spec.name} reads: use fewer words or fewer columns"
            )
        # dtype=object, because the tokenizer writes parsed cells back into the frame.
        frame = pandas.DataFrame([list(row) for row in seen.rows], columns=list(table.columns), dtype=object)
        with pretrained.silence_transformers():
            features = self.tokenizer(
                table=frame, queries=[question], truncation="drop_rows_to_fit", max_length=limit, return_tensors="np"
            )
        return seen, {name: np.asarray(array) for name, array in features.items()}

    def logits(self, encoded: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the logits (T,) of the tokens and (operations,) of the operations (None if it only picks cells)."""
        tensors = self.to_tensors(encoded)
        output = self.run(lambda: self.model(**tensors))
        operations = getattr(output, "logits_aggregation", None)
        cells = np.asarray(output.logits[0].float().cpu())
        return cells, None if operations is None else np.asarray(operations[0].float().cpu())

    def _read_operation(self, logits: np.ndarray | None) -> tuple[Aggregation, float]:
        """Return the most probable operation and its probability; NONE for a model that only picks."""
        if logits is None:
            return "NONE", 1.0
        names = {int(key): str(name).upper() for key, name in self.checkpoint.config["aggregation_labels"].items()}
        best = int(logits.argmax())
        if names.get(best) not in get_args(Aggregation):
            raise WeightsError(
                f"{self.spec.name}: expected aggregation_labels of {', '.join(get_args(Aggregation))}, got {names}"
            )
        return cast(Aggregation, names[best]), float(torch.tensor(logits).softmax(-1)[best])

    def _describe_unread(self, table: Table, seen: Table, rows_read: int, kinds: np.ndarray) -> str:
        """Return a note about the rows and the ends of cells that were not read."""
        notes = []
        if rows_read < (len(table.rows) if table.chosen else table.total):
            notes.append(f"read {rows_read} of {table.total} rows")
        given_tokens = sum(
            len(self.tokenizer.tokenize(cell)) for row in (table.columns, *seen.rows[:rows_read]) for cell in row
        )
        if int((kinds[:, 0] == 1).sum()) < given_tokens:
            notes.append("long cells were cut")
        return "; ".join(notes)


def _select_cells(probabilities: np.ndarray, kinds: np.ndarray, table: Table) -> tuple[Cell, ...]:
    """Return the cells above the threshold by the mean over their tokens.

    `kinds` is (T, 7): segment, column and row of each token come first.
    """
    of_table = (kinds[:, 0] == 1) & (kinds[:, 1] > 0) & (kinds[:, 2] > 0)
    cells = []
    for row, column in sorted({(int(r), int(c)) for r, c in kinds[of_table][:, [2, 1]]}):
        here = of_table & (kinds[:, 1] == column) & (kinds[:, 2] == row)
        score = float(probabilities[here].mean())
        if score > CELL_THRESHOLD:
            # Rows and columns are counted from 1; 0 is the question and the header.
            text, name = table.rows[row - 1][column - 1], table.columns[column - 1]
            cells.append(Cell(table.numbers[row - 1], column - 1, name, text, score))
    return tuple(cells)
