"""Names of a million sources in, 16 bytes each kept of them: how often each came, and what was known of it."""

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
"""Bytes of a fingerprint."""


class FingerprintSet:
    """The fingerprints of names, in the order in which they came."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, name: str) -> None:
        """One more."""
        self._bytes += fingerprint_name(name)

    @property
    def array(self) -> np.ndarray:
        """(N,) of 16 bytes; nothing can be added while somebody holds it."""
        return np.frombuffer(self._bytes, f"S{SIZE}")

    def duplicates(self) -> set[bytes]:
        """Those that came more than once."""
        marks, counts = np.unique(self.array, return_counts=True)
        return as_set(marks[counts > 1])


def as_set(marks: np.ndarray) -> set[bytes]:
    """Fingerprints as `fingerprint` gives them: numpy takes their last zeros away."""
    return {mark.ljust(SIZE, b"\0") for mark in marks.tolist()}


@dataclass(frozen=True, slots=True)
class KnownSource:
    """What an earlier run says of a source."""

    size: int
    mtime_ns: int
    sha256: str
    failed: bool


class SourceLookup(Protocol):
    """Where `Known` are looked up by fingerprint."""

    def get(self, mark: bytes, /) -> KnownSource | None:
        """What is known of the source with this fingerprint."""


class LedgerIndex:
    """`Known` of every source of a ledger, at 86 bytes each: a million fit where as many objects would not."""

    def __init__(self, batches: Iterable[pa.RecordBatch]):
        """From batches with the columns uri, size, mtime_ns, sha256 and status."""
        marks, digests, failed = FingerprintSet(), bytearray(), bytearray()
        self._size, self._time = array("q"), array("q")
        for batch in batches:
            self._size.frombytes(batch.column("size").to_numpy().tobytes())
            self._time.frombytes(batch.column("mtime_ns").to_numpy().tobytes())
            rows = zip(*(batch.column(name).to_pylist() for name in ("uri", "sha256", "status")), strict=True)
            for uri, digest, status in rows:
                marks.add(uri)
                digests += bytes.fromhex(digest).ljust(32, b"\0")  # none where it could not be read
                failed.append(status == "error")
        heads = np.frombuffer(bytes(marks.array), "u8")[::2]
        self._order = np.argsort(heads, kind="stable")
        self._heads = memoryview(heads[self._order].tobytes()).cast("Q")
        self._marks, self._digests, self._failed = marks.array, np.frombuffer(digests, "S32"), bytes(failed)

    def __len__(self) -> int:
        return len(self._heads)

    def get(self, mark: bytes, /) -> KnownSource | None:
        """What is known of the source with this fingerprint."""
        head, wanted = int.from_bytes(mark[:8], sys.byteorder), mark.rstrip(b"\0")
        at = bisect_left(self._heads, head)
        while at < len(self._heads) and self._heads[at] == head:
            row = int(self._order[at])
            if self._marks[row] == wanted:
                digest = bytes(self._digests[row])
                sha256 = digest.ljust(32, b"\0").hex() if digest else ""
                return KnownSource(self._size[row], self._time[row], sha256, bool(self._failed[row]))
            at += 1
        return None
