"""Diarize audio: find who speaks when, for one source, for a live stream, or as the task of a job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal, Self, Unpack

from ..encoders import model_spec
from ..media import Probe, Source, mix_to_mono
from ..preprocess.resample import resample
from ..speech.audio_source import RATE, AudioSource
from ..support.short_repr import ShortRepr
from ..types import Clip, Record, Segment, Spec, Vector
from ..weights import hash_weights
from .base import PerSourceTask, RecordFields
from .diarize_pyannote import PyannoteDiarizer
from .diarizer import SPEAKER_MODEL, Diarizer, SpeakerKeywords, Vad, make_speaker_count
from .settings import get_only, read_arguments

Backend = Literal["ge2e", "pyannote"]
PYANNOTE_MODEL = "pyannote/speaker-diarization-community-1"
"""The default pipeline; gated: its conditions must be accepted, and a token is needed."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Diarization(ShortRepr):
    """Who spoke when.

    source    as it was given
    duration  seconds of the audio
    speech    seconds in which somebody speaks
    turns     in order, without text; one speaker at a time, except from pyannote, which hears two at once
    speakers  name → (256,) float32, the direction of the voice: what `voices=` takes the next time. pyannote's vectors
              are of another length, and can be compared with each other only
    notes     what was wrong with the audio, if anything
    """

    source: str
    duration: float
    speech: float
    turns: tuple[Segment, ...]
    speakers: Mapping[str, Vector]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class DiarizeTask(PerSourceTask):
    """The task of `percepts diarize`: a diarizer of our own, or pyannote's."""

    diarizer: Diarizer | PyannoteDiarizer

    name = "diarize"

    @classmethod
    def create(
        cls,
        voices: Mapping[str, Source | Vector] | None = None,
        *,
        vad: Vad = "silero",
        backend: Backend = "ge2e",
        model: str = "",
        **speakers: Unpack[SpeakerKeywords],
    ) -> Self:
        """Return the task; the arguments and the errors are those of `diarize`. Nothing is loaded yet."""
        count = make_speaker_count(**speakers)
        if backend == "pyannote":
            if voices:
                raise ValueError("pyannote knows no voices by name: use the default backend, ge2e")
            return cls(PyannoteDiarizer(model or PYANNOTE_MODEL, count))
        if backend != SPEAKER_MODEL or model:
            raise ValueError(f"expected backend ge2e without a model, or pyannote, got {backend!r} and model {model!r}")
        return cls(Diarizer(count, voices or {}, vad))

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One table, of turns."""
        # A pipeline of pyannote is not loaded to look up its licence.
        license = model_spec(self.diarizer.name).license if self._uses_own_backend else "unknown"
        return (Spec(name=self.diarizer.name, kind="audio", rate=float(RATE), license=license),)

    def settings(self) -> dict[str, Any]:
        """Return everything that changes a turn, as JSON: the fingerprint of a job."""
        # Nor to compute a digest of its weights.
        weights = hash_weights(model_spec(self.diarizer.name).weights) if self._uses_own_backend else ""
        return {"task": self.name, **self.diarizer.settings(), "models": {self.diarizer.name: {"weights": weights}}}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], specs: Sequence[Spec]) -> Self:
        """Return the task whose `settings()` these are; JobError where it knew voices by name."""
        if settings["backend"] == "pyannote":
            name = get_only(list(settings["models"]), "model")
            return cls(PyannoteDiarizer(name, **read_arguments(PyannoteDiarizer, settings, specs)))
        return cls(Diarizer(**read_arguments(Diarizer, settings, specs)))

    def process_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[Record]:
        """Yield the turns of one source, none without audio; damage at its end goes into `notes`."""
        # No error: a folder holds images and silent videos, too, and `explain_empty` reports them.
        if not medium.audio:
            return
        audio = AudioSource(source)
        for turn in self.diarizer.diarize(audio.blocks()).turns:
            yield Record(audio.name, turn.start, turn.stop, self.diarizer.name, "audio", speaker=turn.speaker)
        notes += audio.notes

    def run_one(self, source: Source) -> Diarization:
        """Return who spoke when in one source; see `diarize`."""
        audio = AudioSource(source)
        output = self.diarizer.diarize(audio.blocks())
        audio.log_notes()  # complete only now that the audio was read
        return Diarization(audio.name, audio.duration, output.speech, output.turns, output.speakers, tuple(audio.notes))

    def rehearsals(self) -> Mapping[str, Callable[[], Iterable[RecordFields]]]:
        """Return what runs the diarizer on made-up audio."""
        return self.diarizer.rehearsals()

    def explain_empty(self, medium: Probe) -> str:
        """Return why there is no turn; "" for audio in which nobody speaks, which is a result."""
        return "" if medium.audio else f"is {medium.kind} without sound"

    @property
    def _uses_own_backend(self) -> bool:
        return isinstance(self.diarizer, Diarizer)


def diarize(
    source: Source,
    *,
    speakers: int | None = None,
    min_speakers: int = 1,
    max_speakers: int = 20,
    voices: Mapping[str, Source | Vector] | None = None,
    vad: Vad = "silero",
    backend: Backend = "ge2e",
    model: str = "",
) -> Diarization:
    """Find who speaks when in audio, or in the audio of a video, of any length and with any number of speakers.

    Silero finds the speech, the ge2e encoder embeds the voice of every 1.6 s of it, spectral clustering separates the
    voices and finds their number (NME-SC). Beyond about ten minutes of speech this is done block by block and the
    blocks' voices are linked, so memory does not grow with the length. One speaker at a time: where two speak at once,
    the louder voice has the turn.

    Args:
        source: path or bytes.
        speakers: how many there are, if it is known.
        min_speakers: at least so many.
        max_speakers: at most so many.
        voices: known voices by name: a recording of each, of five seconds or more, or a vector of an earlier result.
            A speaker who sounds like one of them (cosine 0.85 or more) gets that name, the others SPEAKER_00,
            SPEAKER_01, … in the order in which they are first heard.
        vad: "silero", or "energy", which needs no weights and takes whatever is loud for speech.
        backend: "ge2e", which is all of the above, or "pyannote": its pipeline, which hears two at once and knows
            voices better. It takes no `voices` and has a detector of its own.
        model: pyannote's pipeline, a folder or a Hugging Face id; default pyannote/speaker-diarization-community-1.

    Returns:
        The turns and the voices. No speech: no turns. Of damaged audio those up to the damage, with a note.

    Raises:
        FileNotFoundError, MediaError: the source cannot be opened, or has no audio.
        WeightsError, MissingExtra: the weights or pyannote are not here and cannot be had.
        ValueError: impossible numbers of speakers, or what the backend cannot do.

    >>> import percepts
    >>> percepts.diarize("meeting.wav").turns[0]  # doctest: +SKIP
    Segment(start=0.48, stop=4.32, text='', words=(), speaker='SPEAKER_00', score=None, kind='speech')
    """
    task = DiarizeTask.create(
        voices, vad=vad, backend=backend, model=model, speakers=speakers, min_speakers=min_speakers,
        max_speakers=max_speakers,
    )  # fmt: skip
    return task.run_one(source)


def diarize_online(
    source: Source | Iterable[Clip],
    *,
    speakers: int | None = None,
    min_speakers: int = 1,
    max_speakers: int = 20,
    vad: Vad = "silero",
) -> Iterator[Segment]:
    """Yield who speaks while the stream goes on, never taken back: for a microphone, a pipe, a broadcast.

    Nothing comes in the first 12 s of speech; then turns come when four seconds of speech have gathered and a pause
    comes, some ten seconds late. Early on a new voice may be taken for one that was heard: see docs/diarize.md for what
    it costs. Memory and the time of a step do not grow with the stream.

    Args:
        source: path or bytes of audio, or blocks of one stream at any rate; how it is cut changes nothing.
        speakers: how many there are, if it is known.
        min_speakers: at least so many.
        max_speakers: at most so many.
        vad: "silero", or "energy", which needs no weights.

    Raises as `diarize`.

    >>> for turn in percepts.diarize_online("meeting.wav"):  # doctest: +SKIP
    ...     print(turn.start, turn.speaker)
    """
    diarizer = Diarizer(make_speaker_count(speakers, min_speakers, max_speakers), {}, vad)
    if isinstance(source, str | PathLike | bytes):
        # Short blocks: a turn cannot come before the block in which it ends has been read.
        audio = AudioSource(source, block=1.0)
        yield from diarizer.diarize_stream(audio.blocks())
        audio.log_notes()
    else:
        yield from diarizer.diarize_stream(resample(map(mix_to_mono, source), RATE))
