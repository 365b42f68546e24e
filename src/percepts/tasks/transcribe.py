"""A recording or a film in, what is said in it out: found, decoded, and said by whom, in one pass over the sound."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from typing import Any

from ..decoders.engines import Engine, WhisperEngine
from ..decoders.loading import ENGINES, SPHINX, Chosen, check_installed, choose_engine
from ..decoders.transcribe import check_engine, transcribe_stream
from ..decoders.transcript import Trace, TranscribeOptions, Transcript
from ..errors import JobError, UnknownModel
from ..media import Probe, Source
from ..runtimes import rehearsal
from ..timeline.assign import assign
from ..timeline.clusters import Count
from ..types import Clip, Record, Segment, Spec
from ..windows.speech import Detector, Rules, speech
from ._alongside import Alongside
from ._recording import RATE, Recording, noise
from .diarize import Diarizer, Vad, count_of, detector_of
from .settings import arguments, only, setting, to_settings
from .task import Fields

log = logging.getLogger(__name__)

BATCHED = 8
"""Windows decoded at once where it is only known that there were several: how many changes nothing."""
POOR = (
    "transcribing with pocketsphinx, which is here without a download and poor: it gets about four words in ten wrong. "
    "Name a model for a transcript to rely on, such as openai/whisper-base or a checkpoint's folder"
)


def transcribe(
    source: Source,
    model: str | Engine | None = None,
    *,
    engine: str | None = None,
    options: TranscribeOptions | None = None,
    vad: Vad | None = "silero",
    diarize: bool = False,
    speakers: int | None = None,
    min_speakers: int = 1,
    max_speakers: int = 20,
    on_progress: Callable[[Trace], None] | None = None,
) -> Transcript:
    """What is said in a recording, or in the sound of a film, of any length; memory does not grow with it.

    Args:
        source: path or bytes.
        model: a hub id or a checkpoint's folder, of Whisper or of wav2vec 2.0, HuBERT or WavLM with a CTC head;
            "sphinx" for pocketsphinx, which has a small model of English inside; or an engine. None: sphinx, if it is
            installed.
        engine: what runs the model, where several could: "transformers" or "ctranslate2".
        options: what is asked of the model.
        vad: what finds speech first, so that silence is neither decoded nor made up for: "silero", or "energy", which
            needs no weights. None: everything is decoded.
        diarize: say of every word who spoke it, and cut segments where the speaker changes.
        speakers: how many there are, if it is known.
        min_speakers: at least so many.
        max_speakers: at most so many.
        on_progress: called after every ten seconds of sound.

    Returns:
        The transcript. No speech: one without segments. Of a damaged recording that of the good part, with a note.

    Raises:
        FileNotFoundError, MediaError: it cannot be opened, or has no sound.
        UnknownModel: no such model, or one that does not transcribe; the message says what does.
        WeightsError, MissingExtra: the weights or the engine are not here.
        OptionsError: options that the model cannot honour.
        ValueError: counts that cannot be.

    >>> import percepts
    >>> percepts.transcribe("talk.mp4", "openai/whisper-base").text  # doctest: +SKIP
    'And so my fellow Americans ask not what your country can do for you, …'
    """
    task = transcribing(
        model,
        engine=engine,
        options=options,
        vad=vad,
        diarize=diarize,
        speakers=speakers,
        min_speakers=min_speakers,
        max_speakers=max_speakers,
    )
    return task.transcript(source, on_progress)


def segments(
    source: Source,
    model: str | Engine | None = None,
    *,
    engine: str | None = None,
    options: TranscribeOptions | None = None,
    vad: Vad | None = "silero",
) -> Iterator[Segment]:
    """The segments of `transcribe` as they come, each as soon as it is certain; arguments and errors are the same.

    Damage after a good beginning ends them with a logged warning.

    >>> for segment in segments("talk.mp4", "openai/whisper-base"):  # doctest: +SKIP
    ...     print(segment.start, segment.text)
    """
    recording = Recording(source)
    yield from transcribing(model, engine=engine, options=options, vad=vad).said(recording.blocks(), Trace())
    for note in recording.notes:
        log.warning("%s", note)


def transcribing(
    model: str | Engine | None = None,
    *,
    engine: str | None = None,
    options: TranscribeOptions | None = None,
    vad: Vad | None = "silero",
    diarize: bool = False,
    speakers: int | None = None,
    min_speakers: int = 1,
    max_speakers: int = 20,
) -> Transcribe:
    """The task, for one source or a job; arguments and errors are those of `transcribe`. Nothing is loaded yet."""
    diarizer = Diarizer(count_of(speakers, min_speakers, max_speakers)) if diarize else None
    return Transcribe(chosen(model, engine), options or TranscribeOptions(), vad, diarizer)


def chosen(model: str | Engine | None, engine: str | None = None) -> Chosen | Engine:
    """The model that was asked for, or the one that is here without asking; see `choose_engine` for its errors."""
    if model is None:
        if find_spec("pocketsphinx") is None:
            raise UnknownModel(
                "no model named, and none is here without one: give --model openai/whisper-base, another hub id or a "
                "checkpoint's folder, or pip install 'percepts[sphinx]' for a small and poor one"
            )
        log.warning("%s", POOR)
        model = SPHINX
    return choose_engine(model, engine) if isinstance(model, str) else model


def _identities(model: Chosen | Engine) -> dict[str, Any]:
    if not isinstance(model, Chosen):
        return {model.name: {"engine": type(model).__name__, "weights": {}}}
    digest = model.digest()
    return {model.name: {"engine": model.engine, "weights": {model.weights: digest} if digest else {}}}


def _stored_model(stored: Mapping[str, Any], specs: Sequence[Spec]) -> Chosen:
    name, facts = only(list(stored.items()), "model")
    if facts["engine"] not in ENGINES:
        raise JobError(f"{name} was given from Python as an engine of its own ({facts['engine']}), which is not kept")
    check_installed(facts["engine"])
    return Chosen(name, facts["engine"], next(iter(facts["weights"]), ""))


def _options_as_json(options: TranscribeOptions) -> dict[str, Any]:
    found = asdict(options)
    batched = found.pop("batch_size") > 1  # how many at once changes nothing, whether they know each other does
    return {**found, "batched": batched}


def _stored_options(stored: Mapping[str, Any], specs: Sequence[Spec]) -> TranscribeOptions:
    named: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    batched = named.pop("batched")
    return TranscribeOptions(**named, batch_size=BATCHED if batched else 1)


def _count_as_json(diarizer: Diarizer | None) -> dict[str, Any] | None:
    return None if diarizer is None else asdict(diarizer.count)


def _stored_diarizer(stored: Mapping[str, Any] | None, specs: Sequence[Spec]) -> Diarizer | None:
    return None if stored is None else Diarizer(Count(**stored))


@dataclass(frozen=True, eq=False)
class Transcribe:
    """The task of `percepts transcribe`: one model, how it is asked, what finds speech, and who tells voices apart."""

    model: Chosen | Engine = field(metadata=setting("models", _identities, _stored_model))
    options: TranscribeOptions = field(
        default_factory=TranscribeOptions, metadata=setting("options", _options_as_json, _stored_options)
    )
    vad: Vad | None = "silero"
    diarizer: Diarizer | None = field(default=None, metadata=setting("diarize", _count_as_json, _stored_diarizer))
    _engines: list[Engine] = field(default_factory=list, repr=False)

    name = "transcribe"

    def __post_init__(self) -> None:
        if self.vad is not None:
            detector_of(self.vad)

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One table, of texts."""
        return (Spec(self.model.name, "", "audio", float(RATE), 0.0, 0, "", (), "unknown"),)

    def settings(self) -> dict[str, Any]:
        """Everything that changes a transcript, as JSON: the fingerprint of a job."""
        return {"task": self.name, **to_settings(self)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], specs: Sequence[Spec]) -> Transcribe:
        """Make the task that `settings()` speaks of; see `Repairable`. JobError where its engine came from Python."""
        return cls(**arguments(cls, settings, specs))

    def records(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[Record]:
        """The segments of one source; damage at its end goes into `notes`. Nothing of one without sound."""
        if not medium.audio:
            return
        recording = Recording(source)
        for segment in self.said(recording.blocks(), Trace()):
            yield Record(
                recording.name,
                segment.start,
                segment.stop,
                self.model.name,
                "audio",
                text=segment.text,
                score=segment.score,
                speaker=segment.speaker,
                words=segment.words,
            )
        notes += recording.notes

    def why_none(self, medium: Probe) -> str:
        """Why there is no segment; that nobody speaks in it is a result."""
        return "" if medium.audio else f"is {medium.kind} without sound"

    def transcript(self, source: Source, on_progress: Callable[[Trace], None] | None = None) -> Transcript:
        """All of one source; see `transcribe`."""
        recording, trace = Recording(source), Trace()
        found = tuple(self.said(_watched(recording.blocks(), trace, on_progress), trace))
        for note in recording.notes:
            log.warning("%s", note)
        return Transcript(
            recording.name,
            found,
            _language(found) or trace.language,
            trace.language_prob,
            recording.duration,
            trace.speech,
            tuple(recording.notes),
        )

    def said(self, blocks: Iterable[Clip], trace: Trace) -> Iterator[Segment]:
        """Blocks of one stream, mono at 16 kHz, to its segments; with speakers they come when it has ended."""
        if self.diarizer is None:
            yield from self._decoded(blocks, self.options, trace)
            return
        with Alongside(self.diarizer.listen) as voices:
            options = replace(self.options, word_timestamps=True)
            found = list(self._decoded(voices.through(blocks), options, trace))
            turns = voices.result().turns
        yield from assign(found, turns)

    def check(self) -> None:
        """OptionsError for options that the model cannot honour."""
        if isinstance(self.model, Chosen):
            self.model.check(self.options, self._detector())
        else:
            check_engine(self.model, self.options, self._detector())

    def rehearsals(self) -> Mapping[str, Callable[[], Iterable[Fields]]]:
        """Return what hears a second of made-up sound: with the detector, with the model, and with who tells voices."""
        own = {} if self.diarizer is None else self.diarizer.rehearsals()
        return {self.model.name: self._rehearse, **own}

    def _rehearse(self) -> Iterable[Fields]:
        sound = noise()
        if (detector := self._detector()) is not None:
            for _ in speech(detector, Rules())([sound]):
                pass
        engine = self.engine()
        brief = TranscribeOptions(temperatures=(0.0,), max_tokens=1 if isinstance(engine, WhisperEngine) else None)
        with rehearsal():
            for _ in transcribe_stream(engine, [sound], brief):
                pass
        return ()

    def engine(self) -> Engine:
        """The engine, made once in this process."""
        if not self._engines:
            self._engines.append(self.model.load() if isinstance(self.model, Chosen) else self.model)
        return self._engines[0]

    def _decoded(self, blocks: Iterable[Clip], options: TranscribeOptions, trace: Trace) -> Iterator[Segment]:
        return transcribe_stream(self.engine(), blocks, options, detector=self._detector(), trace=trace)

    def _detector(self) -> Detector | None:
        return None if self.vad is None else detector_of(self.vad)

    def __getstate__(self) -> dict[str, Any]:
        """Travels to workers without its engine: each process makes its own."""
        return {**self.__dict__, "_engines": []}


def _watched(blocks: Iterable[Clip], trace: Trace, on_progress: Callable[[Trace], None] | None) -> Iterator[Clip]:
    for block in blocks:
        yield block
        if on_progress is not None:
            on_progress(trace)


def _language(found: Iterable[Segment]) -> str:
    """Of most of the time; "" where no segment has one."""
    seconds: dict[str, float] = {}
    for segment in found:
        language = getattr(segment, "language", "")
        seconds[language] = seconds.get(language, 0.0) + segment.stop - segment.start
    return max(seconds, key=lambda language: seconds[language], default="")
