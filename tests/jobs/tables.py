"""What a job directory holds, as plain Python, to compare runs by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from percepts.jobs.storage.ledger import Manifest, ledger_entries
from percepts.stores.parquet import read_parts

Photos = Callable[..., Path]


def rows(directory: Path, model: str) -> dict[tuple[str, float], tuple[Any, ...]]:
    """(file name, start) → (id, kind, stop, bytes of the vector); a window that is there twice is an error."""
    found: dict[tuple[str, float], tuple[Any, ...]] = {}
    for batch in read_parts(directory, model):
        for row in batch.to_pylist():
            key = (Path(row["source"]).name, row["start"])
            assert key not in found, f"twice: {key}"
            found[key] = (row["id"], row["kind"], row["stop"], tuple(row["vector"]))
    return found


def ledger(directory: Path) -> dict[str, dict[str, Any]]:
    """File name → entry; a source with two entries is an error."""
    found = list(ledger_entries(directory, Manifest.read(directory)))
    names = Counter(row["uri"] for row in found)
    assert not [name for name, count in names.items() if count > 1]
    return {Path(row["uri"]).name: row for row in found}
