"""Who spoke when as a task that jobs run: a source in, a record for every turn out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import weights as weight_files
from ..diarization.clustering import SpeakerCount
from ..encoders import model_spec
from ..media import Probe, Source
from ..speech.audio_source import RATE, AudioSource
from ..types import Record, Spec
from .base import RecordFields
from .diarize import Backend, Diarizer, Vad, create_diarizer
from .diarize_pyannote import PyannoteDiarizer
from .settings import get_only, read_arguments


def diarizing(
    count: SpeakerCount,
    voices: Mapping[str, Source | np.ndarray] | None = None,
    *,
    vad: Vad = "silero",
    backend: Backend = "ge2e",
    model: str = "",
) -> Diarizing:
    """The task; arguments as `percepts.diarize` has them, and its errors."""
    return Diarizing(create_diarizer(count, voices or {}, vad, backend, model))


@dataclass(frozen=True, eq=False)
class Diarizing:
    """The task of `percepts diarize`: who is told apart, and how."""

    diarizer: Diarizer | PyannoteDiarizer

    name = "diarize"

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One table, of turns."""
        license = model_spec(self.diarizer.name).license if self._uses_own_backend else "unknown"
        return (Spec(name=self.diarizer.name, kind="audio", rate=float(RATE), license=license),)

    def settings(self) -> dict[str, Any]:
        """Everything that changes a turn, as JSON: the fingerprint of a job."""
        weights = weight_files.hash_weights(model_spec(self.diarizer.name).weights) if self._uses_own_backend else ""
        return {"task": self.name, **self.diarizer.settings(), "models": {self.diarizer.name: {"weights": weights}}}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], specs: Sequence[Spec]) -> Diarizing:
        """Make the task that `settings()` speaks of; see `Repairable`. JobError where it was told of known voices."""
        if settings["backend"] == "pyannote":
            name = get_only(list(settings["models"]), "model")
            return cls(PyannoteDiarizer(name, **read_arguments(PyannoteDiarizer, settings, specs)))
        return cls(Diarizer(**read_arguments(Diarizer, settings, specs)))

    def records(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[Record]:
        """The turns of one source; damage at its end goes into `notes`. Nothing of one without sound."""
        if not medium.audio:
            return
        recording = AudioSource(source)
        for turn in self.diarizer.diarize(recording.blocks()).turns:
            yield Record(recording.name, turn.start, turn.stop, self.diarizer.name, "audio", speaker=turn.speaker)
        notes += recording.notes

    def rehearsals(self) -> Mapping[str, Callable[[], Iterable[RecordFields]]]:
        """Return what hears a made-up voice."""
        return self.diarizer.rehearsals()

    def explain_empty(self, medium: Probe) -> str:
        """Why there is no turn; that nobody speaks in it is a result."""
        return "" if medium.audio else f"is {medium.kind} without sound"

    @property
    def _uses_own_backend(self) -> bool:
        return isinstance(self.diarizer, Diarizer)
