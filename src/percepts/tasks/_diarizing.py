"""Who spoke when as a task that jobs run: a source in, a record for every turn out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..encoders import _weights, spec
from ..media import Probe, Source
from ..timeline.clusters import Count
from ..types import Record, Spec
from ._pyannote import Pyannote
from ._recording import RATE, Recording
from .diarize import Backend, Diarizer, Vad, diarizer
from .settings import arguments, only
from .task import Fields


def diarizing(
    count: Count,
    voices: Mapping[str, Source | np.ndarray] | None = None,
    *,
    vad: Vad = "silero",
    backend: Backend = "ge2e",
    model: str = "",
) -> Diarizing:
    """The task; arguments as `percepts.diarize` has them, and its errors."""
    return Diarizing(diarizer(count, voices or {}, vad, backend, model))


@dataclass(frozen=True, eq=False)
class Diarizing:
    """The task of `percepts diarize`: who is told apart, and how."""

    diarizer: Diarizer | Pyannote

    name = "diarize"

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One table, of turns."""
        license = spec(self.diarizer.name).license if self._ours else "unknown"
        return (Spec(self.diarizer.name, "", "audio", float(RATE), 0.0, 0, "", (), license),)

    def settings(self) -> dict[str, Any]:
        """Everything that changes a turn, as JSON: the fingerprint of a job."""
        weights = _weights.digest(spec(self.diarizer.name).weights) if self._ours else ""
        return {"task": self.name, **self.diarizer.settings(), "models": {self.diarizer.name: {"weights": weights}}}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], specs: Sequence[Spec]) -> Diarizing:
        """Make the task that `settings()` speaks of; see `Repairable`. JobError where it was told of known voices."""
        if settings["backend"] == "pyannote":
            name = only(list(settings["models"]), "model")
            return cls(Pyannote(name, **arguments(Pyannote, settings, specs)))
        return cls(Diarizer(**arguments(Diarizer, settings, specs)))

    def records(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[Record]:
        """The turns of one source; damage at its end goes into `notes`. Nothing of one without sound."""
        if not medium.audio:
            return
        recording = Recording(source)
        for turn in self.diarizer.listen(recording.blocks()).turns:
            yield Record(recording.name, turn.start, turn.stop, self.diarizer.name, "audio", speaker=turn.speaker)
        notes += recording.notes

    def rehearsals(self) -> Mapping[str, Callable[[], Iterable[Fields]]]:
        """Return what hears a made-up voice."""
        return self.diarizer.rehearsals()

    def why_none(self, medium: Probe) -> str:
        """Why there is no turn; that nobody speaks in it is a result."""
        return "" if medium.audio else f"is {medium.kind} without sound"

    @property
    def _ours(self) -> bool:
        return isinstance(self.diarizer, Diarizer)
