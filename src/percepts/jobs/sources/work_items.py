"""Number the sources that a run has to process, and pass over those that an earlier run finished."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from ...errors import MediaError
from ..progress import RunStats
from ..storage.entry import LedgerEntry
from ..storage.source_index import SourceLookup
from . import containers
from .walk import WorkItem, find_sources, fingerprint_name, printable_name


@dataclass(frozen=True, slots=True)
class PendingSource:
    """A source that a worker has received; `again`: the ledger has an older entry, which the new one replaces."""

    uri: str
    again: bool


class SourceQueue:
    """Yields the work items to the thread of the worker pool, while the main loop looks up and closes them by key."""

    def __init__(
        self,
        inputs: Sequence[str],
        output: Path,
        *,
        known: SourceLookup,
        retry: Collection[bytes],
        stats: RunStats,
        shard: tuple[int, int] | None = None,
        stores: bool = True,
    ):
        self._stores = stores
        self._shard = shard
        self._inputs, self._output = inputs, output
        self._known, self._retry, self._stats = known, retry, stats
        self._open: dict[int, PendingSource] = {}
        self._outcomes: dict[str, LedgerEntry] = {}
        # The total is only for the progress display, and listing a million files takes minutes.
        threading.Thread(target=self._count, name="percepts-count", daemon=True).start()

    def __iter__(self) -> Iterator[WorkItem]:
        keys = count()
        for uri in self._own_sources():
            mark = fingerprint_name(printable_name(uri))
            known = self._known.get(mark)
            size, mtime_ns = _stat_file(uri)
            outcome = self._outcomes.get(uri)
            mended = outcome is not None and outcome.status == "skipped"
            # A file with the same size and mtime is not read again.
            same = known is not None and (size, mtime_ns) == (known.size, known.mtime_ns)
            if known and same and mark not in self._retry and not mended:
                self._stats.counts["unchanged"] += 1
                self._stats.counts["failed before"] += known.failed
                continue
            key = next(keys)
            # Before the item is yielded, since the worker's first event may look it up at once.
            self._open[key] = PendingSource(printable_name(uri), again=known is not None)
            yield WorkItem(key, uri, size, known.sha256 if known and mark not in self._retry else None, outcome=outcome)

    def __getitem__(self, key: int) -> PendingSource:
        return self._open[key]

    def close(self, key: int) -> None:
        """Note that a source is finished."""
        del self._open[key]

    def _count(self) -> None:
        with suppress(Exception):  # the iteration in the other thread raises the same error
            self._stats.total = sum(1 for _ in self._own_sources())

    def _own_sources(self) -> Iterator[str]:
        """Yield the sources of this shard, chosen by a digest of the name, so that a source never changes its shard."""
        found = find_sources(self._inputs, leave_out=self._output, through=self._follow_expansion, stores=self._stores)
        if self._shard is None:
            return found
        number, count = self._shard
        return (uri for uri in found if int.from_bytes(fingerprint_name(uri)[:8]) % count == number - 1)

    def _follow_expansion(self, path: str, wrong: MediaError | OSError | None) -> bool:
        """Keep an entry for a list or container that is damaged, or was when it was last read; return whether it is."""
        entry = LedgerEntry("", printable_name(path), "", *_stat_file(path), "error", "fetch")
        if wrong is not None:
            words = wrong.strerror if isinstance(wrong, OSError) and wrong.strerror else str(wrong)
            message = words.removeprefix(f"{path}: ") or type(wrong).__name__
            self._outcomes[path] = replace(entry, error=type(wrong).__name__, message=message)
            return True
        known = self._known.get(fingerprint_name(printable_name(path)))
        if known is None or not known.failed:
            return False
        self._outcomes[path] = replace(entry, status="skipped", stage="", message="what it holds are the sources")
        return True


def _stat_file(uri: str) -> tuple[int, int]:
    """Return size in bytes and mtime in ns of a file, which show whether it changed; -1 for what is unknown."""
    if containers.split_member(uri):
        return -1, containers.container_mtime(uri) or -1
    try:
        status = os.stat(uri)
    except (OSError, ValueError):
        return -1, -1
    return status.st_size, status.st_mtime_ns
