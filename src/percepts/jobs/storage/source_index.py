"""Index a million source names by 16-byte fingerprints, with the last ledger status of each."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from ..sources.walk import fingerprint_name

SIZE = 16
"""Size of a fingerprint, in bytes."""


class FingerprintSet:
    """The fingerprints of names, in the order in which they were added."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, name: str) -> None:
        """Add the fingerprint of a name."""
        self._bytes += fingerprint_name(name)

    @property
    def array(self) -> np.ndarray:
        """All fingerprints: (N,) of 16 bytes. No name can be added while this view is held."""
        return np.frombuffer(self._bytes, f"S{SIZE}")

    def duplicates(self) -> set[bytes]:
        """Return the fingerprints that were added more than once."""
        marks, counts = np.unique(self.array, return_counts=True)
        return as_set(marks[counts > 1])


def as_set(marks: np.ndarray) -> set[bytes]:
    """Return fingerprints as `fingerprint_name` makes them, with the trailing zeros that numpy strips."""
    return {mark.ljust(SIZE, b"\0") for mark in marks.tolist()}


@dataclass(frozen=True, slots=True)
class KnownSource:
    """The facts that an earlier run recorded about a source."""

    size: int
    mtime_ns: int
    sha256: str
    failed: bool


class SourceLookup(Protocol):
    """A lookup of earlier facts by fingerprint."""

    def get(self, mark: bytes, /) -> KnownSource | None:
        """Return the facts about the source with this fingerprint; None if no run recorded any."""


class LedgerIndex:
    """The facts about every source of a ledger in 86 bytes each, since a million objects would not fit in memory."""

    def __init__(self, batches: Iterable[pa.RecordBatch]):
        """Read batches with the columns uri, size, mtime_ns, sha256 and status."""
        # Flat arrays, since a Python object for each of a million sources would take several times the memory.
        marks, digests, failed = FingerprintSet(), bytearray(), bytearray()
        self._size, self._time = array("q"), array("q")
        for batch in batches:
            self._size.frombytes(batch.column("size").to_numpy().tobytes())
            self._time.frombytes(batch.column("mtime_ns").to_numpy().tobytes())
            rows = zip(*(batch.column(name).to_pylist() for name in ("uri", "sha256", "status")), strict=True)
            for uri, digest, status in rows:
                marks.add(uri)
                digests += bytes.fromhex(digest).ljust(32, b"\0")  # empty if the source could not be read
                failed.append(status == "error")
        # The first 8 bytes of each fingerprint, sorted: bisecting integers is fast and needs no object for each source.
        heads = np.frombuffer(bytes(marks.array), "u8")[::2]
        self._order = np.argsort(heads, kind="stable")
        self._heads = memoryview(heads[self._order].tobytes()).cast("Q")
        self._marks, self._digests, self._failed = marks.array, np.frombuffer(digests, "S32"), bytes(failed)

    def __len__(self) -> int:
        return len(self._heads)

    def get(self, mark: bytes, /) -> KnownSource | None:
        """Return the facts about the source with this fingerprint; None if the ledger has no entry of it."""
        head, wanted = int.from_bytes(mark[:8], sys.byteorder), mark.rstrip(b"\0")
        at = bisect_left(self._heads, head)
        while at < len(self._heads) and self._heads[at] == head:  # two fingerprints may share their first 8 bytes
            row = int(self._order[at])
            if self._marks[row] == wanted:
                digest = bytes(self._digests[row])
                sha256 = digest.ljust(32, b"\0").hex() if digest else ""
                return KnownSource(self._size[row], self._time[row], sha256, bool(self._failed[row]))
            at += 1
        return None
