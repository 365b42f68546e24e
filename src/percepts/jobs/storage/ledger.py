"""Read and write the ledger, with the outcome of each source, and the manifest, which lists the files that count."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...errors import JobDamaged
from ...stores.manifest import MANIFEST, SCHEMA, Part, read_manifest
from ...stores.parquet import read_part
from ...support.files import atomic_file
from .entry import LedgerEntry

# No column is nullable: an empty cell is damage, and reading one says so.
COLUMNS = pa.schema(
    [
        pa.field(f.name, {"int": pa.int64(), "float": pa.float64()}.get(str(f.type), pa.string()), nullable=False)
        for f in fields(LedgerEntry)
    ]
)


ABOUT = b"percepts.manifest"
"""Key in the metadata of a ledger part for the settings without which a lost manifest cannot be rebuilt."""


def ledger_table(entries: Sequence[LedgerEntry], manifest: Manifest) -> pa.Table:
    """Return entries as a table with one row for each source, and the settings of the job in its metadata."""
    about = json.dumps({"schema": SCHEMA, "fingerprint": manifest.fingerprint, "models": manifest.models})
    columns = {name: [getattr(entry, name) for entry in entries] for name in COLUMNS.names}
    return pa.table(columns, schema=COLUMNS.with_metadata({ABOUT: about.encode()}))


@dataclass
class Manifest:
    """The contents of manifest.json: a file of the directory counts only if it is listed here.

    fingerprint   all settings that change a result; a run with other settings is refused
    models        name → spec, weights digest, runtime
    parts         in the order in which they were committed
    unfinished    sources with rows in `parts` and no ledger entry yet: the next run removes those rows
    counts        number of ledger entries by status, and number of rows
    versions      versions of the libraries that made the newest part
    schema        version of the directory's layout
    next_part     number of the next part
    """

    fingerprint: dict[str, Any]
    models: dict[str, Any]
    parts: list[Part] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA
    next_part: int = 0

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read the manifest; raise JobError if there is none, JobDamaged if this version cannot read it."""
        stored = read_manifest(directory)
        return cls(
            stored.fingerprint,
            stored.models,
            list(stored.parts),
            stored.unfinished,
            stored.counts,
            stored.versions,
            stored.schema,
            stored.next_part,
        )

    def write(self, directory: Path) -> None:
        """Write the manifest atomically; the files that it lists must be complete on disk already."""
        with atomic_file(directory / MANIFEST) as file:
            file.write(json.dumps(asdict(self), indent=1, ensure_ascii=False).encode())

    @property
    def files(self) -> set[str]:
        """Names of all files that belong to the job, relative to its directory."""
        return {info.name for part in self.parts for info in part.files}


def all_ledger_batches(
    directory: Path, manifest: Manifest, *, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield every committed ledger entry, in the order of the parts."""
    for part in manifest.parts:
        if part.ledger:
            yield from ledger_batches(directory / part.ledger.name, columns)


def ledger_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Read one part of the ledger; raise JobDamaged for a column or value that percepts does not write."""
    for batch in read_part(path, columns):
        if why := _invalid_reason(batch, COLUMNS.names if columns is None else columns):
            raise JobDamaged(f"{path}: {why}; `percepts verify` lists all damage, and --repair mends it")
        yield batch


def _invalid_reason(batch: pa.RecordBatch, columns: Sequence[str]) -> str:
    """Say what is wrong with a batch of the ledger; "" if it is valid."""
    for name in columns:
        type = COLUMNS.field(name).type
        found = batch.schema.field(name).type if name in batch.schema.names else "none"
        if found != type:
            return f"expected a column {name!r} of type {type}, found {found}"
        if batch.column(name).null_count:
            return f"the column {name!r} has empty cells"
        if name in _TEXTS and not pc.all(pc.match_substring_regex(batch.column(name), _TEXTS[name])).as_py():
            return f"the column {name!r} has a value that percepts does not write"
        if name == "rows" and len(batch) and pc.min(batch.column(name)).as_py() < 0:
            return "a negative number of rows"
    return ""


_TEXTS = {"status": "^(ok|error|skipped)$", "sha256": "^([0-9a-f]{64})?$"}


def ledger_entries(
    directory: Path, manifest: Manifest, *, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield every committed ledger entry as a dict."""
    for batch in all_ledger_batches(directory, manifest, columns=columns):
        yield from batch.to_pylist()


def settings_differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the settings that differ, nested ones with dots: "models.conse.revision: '1' → '2'"."""
    changes = []
    for key in sorted(old.keys() | new.keys()):
        name, a, b = f"{prefix}{key}", old.get(key), new.get(key)
        if key not in new:
            changes.append(f"{name}: only in the directory")
        elif key not in old:
            changes.append(f"{name}: only asked for now")
        elif isinstance(a, Mapping) and isinstance(b, Mapping):
            changes += settings_differences(a, b, f"{name}.")
        elif a != b:
            changes.append(f"{name}: {a!r} → {b!r}")
    return changes
