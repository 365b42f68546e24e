"""A job directory in, a verdict out: every digest, count, id and vector is looked at; nothing is changed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..errors import JobDamaged
from ..stores.parquet import PartInfo, read_part, specs, vectors
from ..types import Spec
from .directory import OURS
from .ledger import Manifest, entries
from .plan import fingerprint

SHOWN = 50
"""Problems that are listed; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found. `problems` are sentences that name a file; `counts` are sources by status, rows, parts."""

    directory: Path
    problems: tuple[str, ...]
    counts: dict[str, int]

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.problems


def verify(directory: str | Path) -> Verdict:
    """Prove a job directory, or list what is wrong with it.

    Checked: every listed file is there with its size and sha256; nothing else lies beside them; every source has one
    ledger entry; the rows of each source are as many as its entry says, and no window appears twice; vectors are
    finite and of the right length; times run forward; counts of the manifest agree.

    Raises:
        JobError: there is no manifest, so this is no job directory.
        JobDamaged: the manifest cannot be read.
    """
    directory = Path(directory)
    manifest = Manifest.read(directory)
    check = _Check(directory, manifest)
    for problem in check.all():
        check.problems.append(problem)
    problems = check.problems[:SHOWN]
    if len(check.problems) > SHOWN:
        problems.append(f"… and {len(check.problems) - SHOWN} more")
    return Verdict(directory, tuple(problems), {**check.statuses, "rows": check.rows, "parts": len(manifest.parts)})


@dataclass
class _Check:
    directory: Path
    manifest: Manifest
    problems: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    rows: int = 0

    def all(self) -> Iterator[str]:
        whole: set[str] = set()
        for part in self.manifest.parts:
            for info in part.files:
                problem = self._file(info)
                if problem:
                    yield problem
                else:
                    whole.add(info.name)
        yield from self._orphans()
        expected = yield from self._ledger(whole)
        yield from self._tables(whole, expected)
        yield from self._totals()

    def _file(self, info: PartInfo) -> str:
        path = self.directory / info.name
        try:
            size = path.stat().st_size
            if size != info.bytes:
                return f"{info.name}: {size} bytes, expected {info.bytes}"
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return f"{info.name}: missing"
        except OSError as error:
            return f"{info.name}: cannot be read: {error}"
        return "" if digest == info.sha256 else f"{info.name}: its bytes changed since it was written (sha256 differs)"

    def _orphans(self) -> Iterator[str]:
        listed = self.manifest.files
        for folder in OURS:
            for path in sorted((self.directory / folder).rglob("*")):
                name = path.relative_to(self.directory).as_posix()
                if path.is_file() and name not in listed:
                    yield f"{name}: an orphan, the manifest does not list it (the next run removes it)"

    def _ledger(self, whole: set[str]) -> Generator[str, None, dict[bytes, int]]:
        """Yields problems; returns how many rows each source should have, by fingerprint."""
        expected: dict[bytes, int] = {}
        readable = [part for part in self.manifest.parts if part.ledger and part.ledger.name in whole]
        for row in entries(self.directory, Manifest({}, {}, parts=readable)):
            mark = fingerprint(row["uri"])
            if mark in expected:
                yield f"{row['uri']}: has two entries in the ledger"
            expected[mark] = row["rows"]
            self.statuses[row["status"]] += 1
        return expected

    def _tables(self, whole: set[str], expected: dict[bytes, int]) -> Iterator[str]:
        unfinished = {fingerprint(uri) for uri in self.manifest.unfinished}
        found: Counter[bytes] = Counter()
        names: dict[bytes, str] = {}
        for model, spec in specs(self.directory).items():
            seen: set[bytes] = set()
            for part in self.manifest.parts:
                info = part.data.get(model)
                if info is None or info.name not in whole:
                    continue
                try:
                    for batch in read_part(self.directory / info.name):
                        yield from self._batch(info.name, batch, spec, seen, found, names)
                except JobDamaged as error:
                    yield str(error)
        for mark in found.keys() | expected.keys():
            if found[mark] != expected.get(mark, 0) and mark not in unfinished:
                name = names.get(mark) or self._name_of(mark)
                yield f"{name}: {found[mark]} rows in the tables, {expected.get(mark, 'no entry')} in the ledger"

    def _batch(
        self,
        name: str,
        batch: pa.RecordBatch,
        spec: Spec,
        seen: set[bytes],
        found: Counter[bytes],
        names: dict[bytes, str],
    ) -> Iterator[str]:
        self.rows += len(batch)
        sources, starts = batch.column("source").to_pylist(), batch.column("start").to_pylist()
        stops = batch.column("stop").to_pylist()
        for source, start, stop in zip(sources, starts, stops, strict=True):
            mark = fingerprint(source)
            found[mark] += 1
            names.setdefault(mark, source)
            if (window := fingerprint(f"{start!r} {source}")) in seen:
                yield f"{name}: {source} at {start} s appears twice"
            seen.add(window)
            if not 0 <= start <= stop:
                yield f"{name}: {source}: a window from {start} s to {stop} s"
        yield from _vector_problems(name, batch, spec, sources)

    def _name_of(self, mark: bytes) -> str:
        for row in entries(self.directory, self.manifest, columns=["uri"]):
            if fingerprint(row["uri"]) == mark:
                return str(row["uri"])
        return "a source"

    def _totals(self) -> Iterator[str]:
        if self.problems:
            return  # the totals cannot be right where a part is damaged: one cause, one message
        counts = self.manifest.counts
        now = {"ok": self.statuses["ok"], "error": self.statuses["error"], "skipped": self.statuses["skipped"]}
        for key, value in {**now, "rows": self.rows}.items():
            if counts.get(key, 0) != value:
                yield f"manifest.json: counts say {counts.get(key, 0)} {key}, found {value}"


def _vector_problems(name: str, batch: pa.RecordBatch, spec: Spec, sources: list[str]) -> Iterator[str]:
    column = batch.column("vector")
    if column.type.list_size != spec.dim:
        yield f"{name}: vectors of {column.type.list_size} numbers, expected {spec.dim}"
        return
    values = vectors(batch)
    finite = np.isfinite(values).all(axis=1)
    for row in np.flatnonzero(~finite):
        yield f"{name}: {sources[row]}: a vector that is not finite"
