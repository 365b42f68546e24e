"""Hold back the first failures of a model until it is clear whether the model or the sources are at fault."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..errors import WeightsError
from ..tasks.base import Task
from .batching import ClipResult
from .rehearsal import model_fault
from .storage.entry import LedgerEntry

SOURCES = 16
"""Number of sources that must fail alike, with no other result of the model, before the model is blamed."""
BATCHES = 2
"""Number of batches that these sources must come from, since one odd item can make a whole batch fail."""


@dataclass
class _Held:
    """The failures of one model that are held back, all of one type."""

    kind: type[Exception]
    clips: list[ClipResult] = field(default_factory=list)
    sources: set[int] = field(default_factory=set)
    batches: set[int] = field(default_factory=set)


@dataclass
class Trial:
    """Holds back the failures of each model until it gives a result or fails in another way.

    A model that passes its rehearsal may still fail on every real item. With fewer than SOURCES sources nobody can tell
    whose fault that is, so each gets its entry in the ledger.
    """

    _proved: set[str] = field(default_factory=set)
    _held: dict[str, _Held] = field(default_factory=dict)
    _entries: list[tuple[int, LedgerEntry]] = field(default_factory=list)

    def is_proved(self, clip: ClipResult) -> bool:
        """Return whether the model of a clip is known to work, so that nothing of it is held back."""
        return clip.model in self._proved

    def take(self, clip: ClipResult, task: Task) -> Iterable[ClipResult]:
        """Return the results that can be recorded now; raise WeightsError if the model fails on everything."""
        held = self._held.get(clip.model)
        if not isinstance(clip.result, Exception) or (held and type(clip.result) is not held.kind):
            # A result, or another type of error, shows that the model itself works.
            self._proved.add(clip.model)
            self._held.pop(clip.model, None)
            return [*(held.clips if held else ()), clip]
        if held is None:
            held = self._held[clip.model] = _Held(type(clip.result))
        held.clips.append(clip)
        held.sources.add(clip.key)
        held.batches.add(clip.batch)
        if len(held.sources) >= SOURCES and len(held.batches) >= BATCHES:
            error = f"{held.kind.__name__}: {clip.result}"
            raise _build_error(task, clip.model, error, len(held.sources))
        return ()

    def take_source(self, key: int, entry: LedgerEntry, task: Task) -> list[tuple[int, LedgerEntry]]:
        """Return the sources that can be recorded now, of a task that works source by source; raise as `take`."""
        model = task.specs[0].name
        failed = entry.status == "error" and entry.stage == "encode"
        if model in self._proved or (entry.status == "skipped" or (entry.status == "error" and not failed)):
            return [(key, entry)]  # this outcome does not depend on the model
        # Entries come from a worker and hold the name of the error's class, not the error.
        if not failed or any(entry.error != other.error for _, other in self._entries):
            self._proved.add(model)
            return [*self.release_sources(), (key, entry)]
        self._entries.append((key, entry))
        if len(self._entries) >= SOURCES:
            raise _build_error(task, model, f"{entry.error}: {entry.message}", len(self._entries))
        return []

    def release(self) -> list[ClipResult]:
        """Return all results that are held back, once no more come."""
        held, self._held = self._held, {}
        return [clip for each in held.values() for clip in each.clips]

    def release_sources(self) -> list[tuple[int, LedgerEntry]]:
        """Return the sources that are held back, once no more come."""
        held, self._entries = self._entries, []
        return held

    def drop(self, key: int) -> None:
        """Remove what is held back for one source, which starts again."""
        for held in self._held.values():
            held.clips = [clip for clip in held.clips if clip.key != key]
            held.sources.discard(key)
        self._entries = [each for each in self._entries if each[0] != key]


def _build_error(task: Task, model: str, error: str, count: int) -> WeightsError:
    return model_fault(task, model, f"the first {count} sources all failed with {error}")
