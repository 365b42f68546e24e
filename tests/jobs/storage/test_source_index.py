"""Fingerprints of many names, packed: the same answers as from a dict."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from percepts.jobs.sources.walk import fingerprint_name
from percepts.jobs.storage.source_index import FingerprintSet, KnownSource, LedgerIndex, as_set

NAMES = [f"/photos/{number}.png" for number in range(3000)]
"""Enough that a dozen fingerprints end in a zero byte, which numpy takes away."""


def known(number: int) -> KnownSource:
    sha256 = hashlib.sha256(bytes([number % 7])).hexdigest() if number % 5 else ""
    return KnownSource(number, -1 if number % 3 else 1 << 60, sha256, not number % 5)


def test_an_index_answers_as_a_dict_would() -> None:
    wanted = {fingerprint_name(name): known(number) for number, name in enumerate(NAMES)}
    assert any(mark.endswith(b"\0") for mark in wanted)
    rows = [
        {
            "uri": name,
            "size": k.size,
            "mtime_ns": k.mtime_ns,
            "sha256": k.sha256,
            "status": "error" if k.failed else "ok",
        }
        for name, k in zip(NAMES, wanted.values(), strict=True)
    ]
    index = LedgerIndex(pa.RecordBatch.from_pylist(rows[at : at + 700]) for at in range(0, len(rows), 700))
    assert len(index) == len(NAMES)
    assert {mark: index.get(mark) for mark in wanted} == wanted
    assert index.get(fingerprint_name("/photos/none.png")) is None
    assert LedgerIndex([]).get(fingerprint_name(NAMES[0])) is None


def test_what_came_more_than_once_is_told() -> None:
    marks = FingerprintSet()
    for name in [*NAMES, *NAMES[:50], *NAMES[:10]]:
        marks.add(name)
    assert marks.duplicates() == {fingerprint_name(name) for name in NAMES[:50]}
    assert as_set(marks.array) == {fingerprint_name(name) for name in NAMES}
