"""Write and read records as JSON lines. Numbers have the fewest digits that read back as the same float32."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from ..support.files import atomic_file
from ..support.outputs import output_file
from ..timeline.segments import from_row, to_row
from ..types import Record


class JsonlStore:
    """A file of JSON lines, which appears under its name at `close`.

    Each line has source, start, stop (seconds), model and kind, and whatever else the record has.
    As a context manager it is closed at the end of the block, and removed if the block raises. FileExistsError where
    the file exists, unless `overwrite` is True.

    >>> with JsonlStore("talk.jsonl") as store:  # doctest: +SKIP
    ...     store.write(percepts.records("talk.flac", "melstats"))
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self._stack = ExitStack()
        self._file = self._stack.enter_context(output_file(path, overwrite=overwrite))

    def write(self, records: Iterable[Record]) -> int:
        """Append records; return how many there were."""
        return _append_records(records, self._file)

    def close(self) -> None:
        """Give the file its name."""
        self._stack.close()

    def __enter__(self) -> JsonlStore:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]


def write_part(path: Path, records: Iterable[Record]) -> int:
    """Write records as one file, atomically; return how many there were."""
    with atomic_file(path) as file:
        return _append_records(records, file)


def _append_records(records: Iterable[Record], file: IO[bytes]) -> int:
    count = 0
    for text in map(format_record, records):
        count += 1
        file.write(text)
    return count


def format_record(record: Record) -> bytes:
    r"""Return one record as a line of JSON, with its line break.

    >>> from percepts.types import Record
    >>> format_record(Record("a.wav", 0.0, 4.0, "m", "audio", np.array([0.1, 1e-7], np.float32)))
    b'{"source": "a.wav", "start": 0.0, "stop": 4.0, "model": "m", "kind": "audio", "vector": [0.1, 1e-7]}\n'
    """
    keys = ("source", "start", "stop", "model", "kind", "labels", "scores", "text", "score", "speaker", "words", "box")
    # not by truth: a score of 0.0 and an empty text are values
    row = {key: value for key in keys if (value := getattr(record, key)) not in (None, ())}
    if record.windows != 1:
        row["windows"] = record.windows
    if record.words:
        row["words"] = [to_row(word) for word in record.words]
    text = json.dumps(row, ensure_ascii=False, allow_nan=False)
    if record.vector is not None:
        text = f'{text[:-1]}, "vector": [{", ".join(_format_vector(record.vector))}]}}'
    # A lone surrogate, from a file name that is not UTF-8, cannot be encoded; it becomes the escape of JSON.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def read_records(path: str | Path) -> Iterator[Record]:
    """Yield the records of a file of JSON lines."""
    with open(path, encoding="utf-8") as file:
        for text in file:
            row = json.loads(text)
            if "vector" in row:
                row["vector"] = np.array(row["vector"], np.float32)
            several = {"labels": tuple(row.get("labels", ())), "scores": tuple(row.get("scores", ()))}
            several["words"] = tuple(map(from_row, row.get("words", ())))
            yield Record(**row | several | {"box": tuple(row["box"]) if "box" in row else None})


def _format_vector(vector: np.ndarray) -> list[str]:
    """Format numbers as Arrow prints float32: with the fewest digits that read back as the same number."""
    if not np.isfinite(vector).all():
        raise ValueError("expected finite numbers: JSON has no NaN or infinity")
    # 1.5 times as fast as str() of each
    numbers: list[str] = pa.array(vector.astype(np.float32)).cast(pa.string()).to_pylist()
    return numbers
