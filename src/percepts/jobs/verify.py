"""Check every digest, count, id and vector of a job directory, without changing anything."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import JobDamaged
from ..stores.manifest import PartInfo
from ..stores.parquet import batch_vectors, read_part, read_specs
from ..stores.remote import open_stored_copy
from ..types import Spec
from .sources.walk import fingerprint_name
from .storage.ledger import Manifest, ledger_batches, ledger_entries
from .storage.owned_files import parts_made
from .storage.source_index import FingerprintSet, as_set

DISTINGUISHING = ("start", "stop", "text", "speaker", "labels")
"""Columns that distinguish the rows of a source."""
SHOWN = 50
"""Number of problems that are listed; the others are only counted."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of `verify`.

    directory   the job directory
    problems    sentences that name a file or source
    counts      sources by status, rows, parts
    """

    directory: Path
    problems: tuple[str, ...]
    counts: dict[str, int]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


def verify(directory: str | Path) -> VerifyReport:
    """Check a job directory, and list what is wrong with it.

    Checked: the manifest has the form that percepts writes, names no file outside the directory, and counts its parts
    right; every listed file exists with its size, sha256 and number of rows; no other part lies beside them; every
    source has one ledger entry; each source has as many rows as its entry says, and no window appears twice; vectors
    are finite and of the right length; no window ends before it starts; the counts of the manifest agree. Not checked:
    index/ and other formats, which are copies that can be made again.

    Raises:
        JobError: there is no manifest, so this is no job directory.
        JobDamaged: the manifest cannot be read.
    """
    with open_stored_copy(directory) as directory:
        return _verify_local(directory)


def _verify_local(directory: Path) -> VerifyReport:
    manifest = Manifest.read(directory)
    check = DirectoryCheck(directory, manifest).run()
    problems = [problem.text for problem in check.problems[:SHOWN]]
    if len(check.problems) > SHOWN:
        problems.append(f"… and {len(check.problems) - SHOWN} more")
    return VerifyReport(
        directory, tuple(problems), {**check.statuses, "rows": check.rows, "parts": len(manifest.parts)}
    )


_Expected = tuple[np.ndarray, np.ndarray]
"""Fingerprints in order, and the number of rows that each source should have."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A sentence for users, and the source or file that is damaged, if it is only one."""

    text: str
    source: str = ""
    file: str = ""


@dataclass
class DirectoryCheck:
    """A check of a directory against its manifest, with the problems and counts that it found."""

    directory: Path
    manifest: Manifest
    problems: list[Problem] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    rows: int = 0

    def run(self) -> DirectoryCheck:
        """Check everything."""
        for problem in self._check_all():
            self.problems.append(problem)
        return self

    def _check_all(self) -> Iterator[Problem]:
        intact: set[str] = set()
        for part in self.manifest.parts:
            for info in part.files:
                if why := self._check_file(info) or _count_rows(self.directory / info.name, info):
                    yield Problem(f"{info.name}: {why}", file=info.name)
                else:
                    intact.add(info.name)
        yield from self._find_orphans()
        # Rows are read only from intact files, so a damaged file is reported once and not for each of its rows.
        expected = yield from self._check_ledger(intact)
        yield from self._check_tables(intact, expected)
        yield from self._check_totals()

    def _check_file(self, info: PartInfo) -> str:
        path = self.directory / info.name
        try:
            if path.exists() and not path.is_file():
                return "is not a regular file"
            size = path.stat().st_size
            if size != info.bytes:
                return f"{size} bytes, expected {info.bytes}"
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            return f"cannot be read: {error}"
        return "" if digest == info.sha256 else "its bytes changed since it was written (sha256 differs)"

    def _find_orphans(self) -> Iterator[Problem]:
        listed = self.manifest.files
        for name in parts_made(self.directory, self.manifest.models):
            if name not in listed:
                yield Problem(f"{name}: an orphan, the manifest does not list it (the next run removes it)")

    def _check_ledger(self, intact: set[str]) -> Generator[Problem, None, _Expected]:
        """Yield problems; return the number of rows that each source should have."""
        marks, rows = FingerprintSet(), array("q")
        for row in self._read_entries(intact):
            marks.add(row["uri"])
            rows.append(row["rows"])
            self.statuses[row["status"]] += 1
        if duplicates := marks.duplicates():
            for uri in sorted(
                {row["uri"] for row in self._read_entries(intact) if fingerprint_name(row["uri"]) in duplicates}
            ):
                yield Problem(f"{uri}: has two entries in the ledger", uri)
        found, first = np.unique(marks.array, return_index=True)
        return found, np.frombuffer(rows, np.int64)[first]

    def _read_entries(self, intact: set[str]) -> Iterator[dict[str, Any]]:
        readable = [part for part in self.manifest.parts if part.ledger and part.ledger.name in intact]
        return ledger_entries(self.directory, Manifest({}, {}, parts=readable))

    def _check_tables(self, intact: set[str], expected: _Expected) -> Iterator[Problem]:
        found = FingerprintSet()
        for model, spec in read_specs(self.directory).items():
            windows = FingerprintSet()
            for name, batch in self._read_batches(intact, model):
                if isinstance(batch, JobDamaged):
                    yield Problem(str(batch), file=name)
                else:
                    yield from self._check_batch(name, batch, spec, windows, found)
            if duplicates := windows.duplicates():
                yield from self._find_duplicates(intact, model, spec, duplicates)
        yield from self._compare_row_counts(intact, found.array, expected)

    def _read_batches(self, intact: set[str], model: str) -> Iterator[tuple[str, pa.RecordBatch | JobDamaged]]:
        """Yield the rows of a model with the name of their file, or the damage that ends a file early."""
        for part in self.manifest.parts:
            info = part.data.get(model)
            if info is None or info.name not in intact:
                continue
            try:
                for batch in read_part(self.directory / info.name):
                    yield info.name, batch
            except JobDamaged as error:
                yield info.name, error

    def _check_batch(
        self, name: str, batch: pa.RecordBatch, spec: Spec, windows: FingerprintSet, found: FingerprintSet
    ) -> Iterator[Problem]:
        self.rows += len(batch)
        for source, start, stop, window in _row_windows(batch, spec):
            found.add(source)
            windows.add(window)
            if not 0 <= start <= stop:
                yield Problem(f"{name}: {source}: a window from {start} s to {stop} s", source)
        sources = batch.column("source")
        if spec.dim:
            yield from _find_vector_problems(name, batch, spec, sources)
        yield from _find_score_problems(name, batch, sources)

    def _find_duplicates(self, intact: set[str], model: str, spec: Spec, duplicates: set[bytes]) -> Iterator[Problem]:
        """Yield a problem for each window that appears again, which takes a second look at the rows for their names."""
        seen: set[bytes] = set()
        for name, batch in self._read_batches(intact, model):
            for source, start, _, window in () if isinstance(batch, JobDamaged) else _row_windows(batch, spec):
                if (mark := fingerprint_name(window)) in seen:
                    yield Problem(f"{name}: {source} at {start} s appears twice", source)
                seen |= {mark} & duplicates

    def _compare_row_counts(self, intact: set[str], found: np.ndarray, expected: _Expected) -> Iterator[Problem]:
        """Yield sources with more or fewer rows than their entry says, or without an entry."""
        rows = dict.fromkeys(as_set(_find_differing(np.unique(found, return_counts=True), expected)), 0)
        if not rows:
            return
        entered_rows: dict[bytes, int] = {}
        names: dict[bytes, str] = {}
        for row in self._read_entries(intact):
            if (mark := fingerprint_name(row["uri"])) in rows:
                entered_rows[mark], names[mark] = row["rows"], row["uri"]
        for model in read_specs(self.directory):
            for _, batch in self._read_batches(intact, model):
                for source in () if isinstance(batch, JobDamaged) else batch.column("source").to_pylist():
                    if (mark := fingerprint_name(source)) in rows:
                        rows[mark] += 1
                        names[mark] = source
        # Their rows have no entry yet, and the next run removes them.
        unfinished = {fingerprint_name(uri) for uri in self.manifest.unfinished}
        for mark in sorted(rows.keys() - unfinished, key=names.__getitem__):
            counts = f"{rows[mark]} rows in the tables, {entered_rows.get(mark, 'no entry')} in the ledger"
            yield Problem(f"{names[mark]}: {counts}", names[mark])

    def _check_totals(self) -> Iterator[Problem]:
        if self.problems:
            return  # the totals cannot be right if a part is damaged: one cause, one message
        counts = self.manifest.counts
        now = {"ok": self.statuses["ok"], "error": self.statuses["error"], "skipped": self.statuses["skipped"]}
        for key, value in {**now, "sources": sum(now.values()), "rows": self.rows}.items():
            if counts.get(key, 0) != value:
                yield Problem(f"manifest.json: counts say {counts.get(key, 0)} {key}, found {value}")


def _count_rows(path: Path, info: PartInfo) -> str:
    """Compare the number of rows of an intact file with the manifest; return what is wrong, or ""."""
    try:
        with pa.OSFile(str(path)) as opened:
            rows = pq.read_metadata(opened).num_rows
        if info.name.startswith("ledger/"):
            # Reading it checks its columns and values.
            for _ in ledger_batches(path):
                pass
    except (OSError, ValueError) as error:  # Arrow raises both
        return f"is no parquet file: {error}"
    except JobDamaged as error:
        return str(error)
    return "" if rows == info.rows else f"{rows} rows, expected {info.rows}"


def _row_windows(batch: pa.RecordBatch, spec: Spec) -> Iterator[tuple[str, float, float, str]]:
    """Yield source, start and stop of each row, and the text that must be unique among all rows of the model."""
    cells = [batch.column(column).to_pylist() for column in DISTINGUISHING if column in batch.schema.names]
    for source, start, stop, *rest in zip(batch.column("source").to_pylist(), *cells, strict=True):
        # Two people may speak at once, and a model may give two labels for a window, but only one vector.
        yield source, start, stop, f"{start!r} {source}{'' if spec.dim else (stop, rest)}"


def _find_differing(found: tuple[np.ndarray, np.ndarray], expected: _Expected) -> np.ndarray:
    """Return the fingerprints whose numbers of rows differ; an absent one counts as no rows."""
    # Sorted arrays instead of dicts, since there may be a million sources.
    marks = np.union1d(found[0], expected[0])
    rows = np.zeros((2, len(marks)), np.int64)
    for row, (there, counts) in zip(rows, (found, expected), strict=True):
        row[np.searchsorted(marks, there)] = counts
    entered = np.isin(marks, expected[0], assume_unique=True)
    differing: np.ndarray = marks[(rows[0] != rows[1]) | ~entered]
    return differing


def _find_vector_problems(name: str, batch: pa.RecordBatch, spec: Spec, sources: pa.Array) -> Iterator[Problem]:
    column = batch.column("vector")
    if column.type.list_size != spec.dim:
        yield Problem(f"{name}: vectors of {column.type.list_size} numbers, expected {spec.dim}", file=name)
        return
    values = batch_vectors(batch)
    finite = np.isfinite(values).all(axis=1)
    for row in np.flatnonzero(~finite):
        yield Problem(f"{name}: {sources[int(row)]}: a vector that is not finite", sources[int(row)].as_py())


def _find_score_problems(name: str, batch: pa.RecordBatch, sources: pa.Array) -> Iterator[Problem]:
    if "scores" not in batch.schema.names:  # written by a release without scores
        return
    labels, scores = (np.asarray(pc.list_value_length(batch.column(column))) for column in ("labels", "scores"))
    for row in np.flatnonzero((scores != 0) & (scores != labels)):
        yield Problem(
            f"{name}: {sources[int(row)]}: {scores[row]} scores for {labels[row]} labels", sources[int(row)].as_py()
        )
