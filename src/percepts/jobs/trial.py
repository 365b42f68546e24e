"""Hold back the first failures of a model until it is known whose they are: what all items give is no item's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..errors import WeightsError
from ..tasks.base import Task
from .batching import ClipResult
from .rehearsal import model_fault
from .storage.entry import LedgerEntry

SOURCES = 16
"""Different sources that must have failed alike, and nothing else have come of the model, before it is to blame."""
BATCHES = 2
"""Batches that they must have come from."""


@dataclass
class _Held:
    """Failures of one model, all of one type."""

    kind: type[Exception]
    clips: list[ClipResult] = field(default_factory=list)
    sources: set[int] = field(default_factory=set)
    batches: set[int] = field(default_factory=set)


@dataclass
class Trial:
    """What a model says is held back while it has only failed, and always alike; the first result ends that.

    A model that runs a made-up item may yet fail on every real one. With fewer than SOURCES sources nobody can tell,
    and each has its entry in the ledger.
    """

    _proved: set[str] = field(default_factory=set)
    _held: dict[str, _Held] = field(default_factory=dict)
    _entries: list[tuple[int, LedgerEntry]] = field(default_factory=list)

    def watch_batch(self, clip: ClipResult) -> bool:
        """Whether nothing of its model is held back any more."""
        return clip.model in self._proved

    def take(self, clip: ClipResult, task: Task) -> Iterable[ClipResult]:
        """Return what can be believed now; WeightsError where the model fails on everything."""
        held = self._held.get(clip.model)
        if not isinstance(clip.result, Exception) or (held and type(clip.result) is not held.kind):
            self._proved.add(clip.model)
            self._held.pop(clip.model, None)
            return [*(held.clips if held else ()), clip]
        if held is None:
            held = self._held[clip.model] = _Held(type(clip.result))
        held.clips.append(clip)
        held.sources.add(clip.key)
        held.batches.add(clip.batch)
        if len(held.sources) >= SOURCES and len(held.batches) >= BATCHES:
            said = f"{held.kind.__name__}: {clip.result}"
            raise self._blamed(task, clip.model, said, len(held.sources))
        return ()

    def take_source(self, key: int, entry: LedgerEntry, task: Task) -> list[tuple[int, LedgerEntry]]:
        """Return the sources that can be believed now, of a task that takes each whole; WeightsError as above."""
        model = task.specs[0].name
        failed = entry.status == "error" and entry.stage == "encode"
        if model in self._proved or (entry.status == "skipped" or (entry.status == "error" and not failed)):
            return [(key, entry)]  # says nothing of the model
        if not failed or any(entry.error != other.error for _, other in self._entries):
            self._proved.add(model)
            return [*self.release_sources(), (key, entry)]
        self._entries.append((key, entry))
        if len(self._entries) >= SOURCES:
            raise self._blamed(task, model, f"{entry.error}: {entry.message}", len(self._entries))
        return []

    def release(self) -> list[ClipResult]:
        """Return all that is held back, once nothing more comes."""
        held, self._held = self._held, {}
        return [clip for each in held.values() for clip in each.clips]

    def release_sources(self) -> list[tuple[int, LedgerEntry]]:
        """Return the sources that are held back."""
        held, self._entries = self._entries, []
        return held

    def drop(self, key: int) -> None:
        """Forget what is held back of one source, which is done again."""
        for held in self._held.values():
            held.clips = [clip for clip in held.clips if clip.key != key]
            held.sources.discard(key)
        self._entries = [each for each in self._entries if each[0] != key]

    def _blamed(self, task: Task, model: str, said: str, count: int) -> WeightsError:
        return model_fault(task, model, f"the first {count} sources all failed with {said}")
