"""A job directory in, a verdict out: every digest, count, id and vector is looked at; nothing is changed."""

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

SAID = ("start", "stop", "text", "speaker", "labels")
"""Columns that tell the rows of a source apart."""
SHOWN = 50
"""Problems that are listed; the rest are counted."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found. `problems` are sentences that name a file; `counts` are sources by status, rows, parts."""

    directory: Path
    problems: tuple[str, ...]
    counts: dict[str, int]

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.problems


def verify(directory: str | Path) -> VerifyReport:
    """Prove a job directory, or list what is wrong with it.

    Checked: the manifest is written as percepts writes it, names no file outside the directory, and counts its parts
    right; every listed file is there with its size, sha256 and number of rows; nothing else lies beside them; every
    source has one ledger entry; the rows of each source are as many as its entry says, and no window appears twice;
    vectors are finite and of the right length; times run forward; counts of the manifest agree. Not looked at: index/
    and other formats, which are copies that can be made again.

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
"""Fingerprints in order, and how many rows each source should have."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A sentence for people; and the source or the file that is damaged, where it is one."""

    text: str
    source: str = ""
    file: str = ""


@dataclass
class DirectoryCheck:
    """A directory looked through against its manifest: the problems, and what there is."""

    directory: Path
    manifest: Manifest
    problems: list[Problem] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    rows: int = 0

    def run(self) -> DirectoryCheck:
        """Look at everything."""
        for problem in self._check_all():
            self.problems.append(problem)
        return self

    def _check_all(self) -> Iterator[Problem]:
        whole: set[str] = set()
        for part in self.manifest.parts:
            for info in part.files:
                if why := self._check_file(info) or _count_rows(self.directory / info.name, info):
                    yield Problem(f"{info.name}: {why}", file=info.name)
                else:
                    whole.add(info.name)
        yield from self._find_orphans()
        expected = yield from self._check_ledger(whole)
        yield from self._check_tables(whole, expected)
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

    def _check_ledger(self, whole: set[str]) -> Generator[Problem, None, _Expected]:
        """Yields problems; returns how many rows each source should have."""
        marks, rows = FingerprintSet(), array("q")
        for row in self._read_entries(whole):
            marks.add(row["uri"])
            rows.append(row["rows"])
            self.statuses[row["status"]] += 1
        if twice := marks.duplicates():
            for uri in sorted(
                {row["uri"] for row in self._read_entries(whole) if fingerprint_name(row["uri"]) in twice}
            ):
                yield Problem(f"{uri}: has two entries in the ledger", uri)
        found, first = np.unique(marks.array, return_index=True)
        return found, np.frombuffer(rows, np.int64)[first]

    def _read_entries(self, whole: set[str]) -> Iterator[dict[str, Any]]:
        readable = [part for part in self.manifest.parts if part.ledger and part.ledger.name in whole]
        return ledger_entries(self.directory, Manifest({}, {}, parts=readable))

    def _check_tables(self, whole: set[str], expected: _Expected) -> Iterator[Problem]:
        found = FingerprintSet()
        for model, spec in read_specs(self.directory).items():
            windows = FingerprintSet()
            for name, batch in self._read_batches(whole, model):
                if isinstance(batch, JobDamaged):
                    yield Problem(str(batch), file=name)
                else:
                    yield from self._check_batch(name, batch, spec, windows, found)
            if twice := windows.duplicates():
                yield from self._find_duplicates(whole, model, spec, twice)
        yield from self._compare_row_counts(whole, found.array, expected)

    def _read_batches(self, whole: set[str], model: str) -> Iterator[tuple[str, pa.RecordBatch | JobDamaged]]:
        """The rows of a model with the file they are in, and what ends a file before its end."""
        for part in self.manifest.parts:
            info = part.data.get(model)
            if info is None or info.name not in whole:
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
        yield from _score_problems(name, batch, sources)

    def _find_duplicates(self, whole: set[str], model: str, spec: Spec, twice: set[bytes]) -> Iterator[Problem]:
        """Read once more, for the names of those that are there again."""
        seen: set[bytes] = set()
        for name, batch in self._read_batches(whole, model):
            for source, start, _, window in () if isinstance(batch, JobDamaged) else _row_windows(batch, spec):
                if (mark := fingerprint_name(window)) in seen:
                    yield Problem(f"{name}: {source} at {start} s appears twice", source)
                seen |= {mark} & twice

    def _compare_row_counts(self, whole: set[str], found: np.ndarray, expected: _Expected) -> Iterator[Problem]:
        """Sources with more or fewer rows than their entries say, or with no entry at all."""
        rows = dict.fromkeys(as_set(_find_differing(np.unique(found, return_counts=True), expected)), 0)
        if not rows:
            return
        told: dict[bytes, int] = {}
        names: dict[bytes, str] = {}
        for row in self._read_entries(whole):
            if (mark := fingerprint_name(row["uri"])) in rows:
                told[mark], names[mark] = row["rows"], row["uri"]
        for model in read_specs(self.directory):
            for _, batch in self._read_batches(whole, model):
                for source in () if isinstance(batch, JobDamaged) else batch.column("source").to_pylist():
                    if (mark := fingerprint_name(source)) in rows:
                        rows[mark] += 1
                        names[mark] = source
        unfinished = {fingerprint_name(uri) for uri in self.manifest.unfinished}
        for mark in sorted(rows.keys() - unfinished, key=names.__getitem__):
            says = f"{rows[mark]} rows in the tables, {told.get(mark, 'no entry')} in the ledger"
            yield Problem(f"{names[mark]}: {says}", names[mark])

    def _check_totals(self) -> Iterator[Problem]:
        if self.problems:
            return  # the totals cannot be right where a part is damaged: one cause, one message
        counts = self.manifest.counts
        now = {"ok": self.statuses["ok"], "error": self.statuses["error"], "skipped": self.statuses["skipped"]}
        for key, value in {**now, "sources": sum(now.values()), "rows": self.rows}.items():
            if counts.get(key, 0) != value:
                yield Problem(f"manifest.json: counts say {counts.get(key, 0)} {key}, found {value}")


def _count_rows(path: Path, info: PartInfo) -> str:
    """Compare the rows of a file, whose bytes are as they should be, with the manifest: what is wrong, or nothing."""
    try:
        with pa.OSFile(str(path)) as opened:
            rows = pq.read_metadata(opened).num_rows
        if info.name.startswith("ledger/"):
            for _ in ledger_batches(path):
                pass
    except (OSError, ValueError) as error:  # Arrow's errors are both
        return f"is no parquet file: {error}"
    except JobDamaged as error:
        return str(error)
    return "" if rows == info.rows else f"{rows} rows, expected {info.rows}"


def _row_windows(batch: pa.RecordBatch, spec: Spec) -> Iterator[tuple[str, float, float, str]]:
    """Source, start, stop, and what must not be there twice, of each row."""
    said = [batch.column(column).to_pylist() for column in SAID if column in batch.schema.names]
    for source, start, stop, *rest in zip(batch.column("source").to_pylist(), *said, strict=True):
        # Two may speak at once, and one model may say two things of a window; a vector it has but one.
        yield source, start, stop, f"{start!r} {source}{'' if spec.dim else (stop, rest)}"


def _find_differing(found: tuple[np.ndarray, np.ndarray], expected: _Expected) -> np.ndarray:
    """The fingerprints whose numbers of rows differ; one that is absent has none."""
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


def _score_problems(name: str, batch: pa.RecordBatch, sources: pa.Array) -> Iterator[Problem]:
    if "scores" not in batch.schema.names:  # written before there were any
        return
    labels, scores = (np.asarray(pc.list_value_length(batch.column(column))) for column in ("labels", "scores"))
    for row in np.flatnonzero((scores != 0) & (scores != labels)):
        yield Problem(
            f"{name}: {sources[int(row)]}: {scores[row]} scores for {labels[row]} labels", sources[int(row)].as_py()
        )
