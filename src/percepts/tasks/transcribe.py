"""A recording or a film in, what is said in it out: found, decoded, and said by whom, in one pass over the sound."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

from ..diarization.clustering import SpeakerCount
from ..errors import JobError, UnknownModel
from ..media import Probe, Source
from ..runtimes import defer_choice
from ..speech.audio_source import RATE, AudioSource, make_noise
from ..speech.engines import Engine
from ..speech.loading import ENGINES, SPHINX, EngineChoice, check_installed, choose_engine
from ..speech.options import TranscribeOptions
from ..speech.results import TranscribeProgress, Transcript
from ..speech.transcribe import check_engine, transcribe_stream
from ..support.tee import StreamTee
from ..timeline.assign_speakers import assign_speakers
from ..types import Clip, Record, Segment, Spec
from ..windows.speech import Detector, SpeechRules, cut_speech
from .base import RecordFields
from .diarize import Diarizer, Vad, make_detector, make_speaker_count
from .settings import get_only, read_arguments, setting, to_settings

log = logging.getLogger(__name__)

RESTORED_BATCH_SIZE = 8
"""Windows decoded at once where it is only known that there were several: how many changes nothing."""
SPHINX_WARNING = (
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
    on_progress: Callable[[TranscribeProgress], None] | None = None,
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


def transcribe_iter(
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
    recording = AudioSource(source)
    yield from transcribing(model, engine=engine, options=options, vad=vad).transcribe_blocks(
        recording.blocks(), TranscribeProgress()
    )
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
    diarizer = Diarizer(make_speaker_count(speakers, min_speakers, max_speakers)) if diarize else None
    return Transcribe(choose_model(model, engine), options or TranscribeOptions(), vad, diarizer)


def choose_model(model: str | Engine | None, engine: str | None = None) -> EngineChoice | Engine:
    """The model that was asked for, or the one that is here without asking; see `choose_engine` for its errors."""
    if model is None:
        if find_spec("pocketsphinx") is None:
            raise UnknownModel(
                "no model named, and none is here without one: give --model openai/whisper-base, another hub id or a "
                "checkpoint's folder, or pip install 'percepts[sphinx]' for a small and poor one"
            )
        log.warning("%s", SPHINX_WARNING)
        model = SPHINX
    return choose_engine(model, engine) if isinstance(model, str) else model


def _identify_engine(model: EngineChoice | Engine) -> dict[str, Any]:
    if not isinstance(model, EngineChoice):
        return {model.name: {"engine": type(model).__name__, "weights": {}}}
    digest = model.digest()
    return {model.name: {"engine": model.engine, "weights": {model.weights: digest} if digest else {}}}


def _restore_model(stored: Mapping[str, Any], specs: Sequence[Spec]) -> EngineChoice:
    name, facts = get_only(list(stored.items()), "model")
    if facts["engine"] not in ENGINES:
        raise JobError(f"{name} was given from Python as an engine of its own ({facts['engine']}), which is not kept")
    check_installed(facts["engine"])
    return EngineChoice(name, facts["engine"], next(iter(facts["weights"]), ""))


def _options_to_json(options: TranscribeOptions) -> dict[str, Any]:
    found = asdict(options)
    batched = found.pop("batch_size") > 1  # how many at once changes nothing, whether they know each other does
    return {**found, "batched": batched}


def _restore_options(stored: Mapping[str, Any], specs: Sequence[Spec]) -> TranscribeOptions:
    named: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    batched = named.pop("batched")
    return TranscribeOptions(**named, batch_size=RESTORED_BATCH_SIZE if batched else 1)


def _speakers_to_json(diarizer: Diarizer | None) -> dict[str, Any] | None:
    return None if diarizer is None else asdict(diarizer.count)


def _restore_diarizer(stored: Mapping[str, Any] | None, specs: Sequence[Spec]) -> Diarizer | None:
    return None if stored is None else Diarizer(SpeakerCount(**stored))


@dataclass(frozen=True, eq=False)
class Transcribe:
    """The task of `percepts transcribe`: one model, how it is asked, what finds speech, and who tells voices apart."""

    model: EngineChoice | Engine = field(metadata=setting("models", _identify_engine, _restore_model))
    options: TranscribeOptions = field(
        default_factory=TranscribeOptions, metadata=setting("options", _options_to_json, _restore_options)
    )
    vad: Vad | None = "silero"
    diarizer: Diarizer | None = field(default=None, metadata=setting("diarize", _speakers_to_json, _restore_diarizer))
    _engines: list[Engine] = field(default_factory=list, repr=False)

    name = "transcribe"

    def __post_init__(self) -> None:
        if self.vad is not None:
            make_detector(self.vad)

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One table, of texts."""
        return (Spec(name=self.model.name, kind="audio", rate=float(RATE)),)

    def settings(self) -> dict[str, Any]:
        """Everything that changes a transcript, as JSON: the fingerprint of a job."""
        return {"task": self.name, **to_settings(self)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], specs: Sequence[Spec]) -> Transcribe:
        """Make the task that `settings()` speaks of; see `Repairable`. JobError where its engine came from Python."""
        return cls(**read_arguments(cls, settings, specs))

    def records(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[Record]:
        """The segments of one source; damage at its end goes into `notes`. Nothing of one without sound."""
        if not medium.audio:
            return
        recording = AudioSource(source)
        for segment in self.transcribe_blocks(recording.blocks(), TranscribeProgress()):
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

    def explain_empty(self, medium: Probe) -> str:
        """Why there is no segment; that nobody speaks in it is a result."""
        return "" if medium.audio else f"is {medium.kind} without sound"

    def transcript(self, source: Source, on_progress: Callable[[TranscribeProgress], None] | None = None) -> Transcript:
        """All of one source; see `transcribe`."""
        recording, trace = AudioSource(source), TranscribeProgress()
        found = tuple(self.transcribe_blocks(_report_progress(recording.blocks(), trace, on_progress), trace))
        for note in recording.notes:
            log.warning("%s", note)
        return Transcript(
            recording.name,
            found,
            _find_main_language(found) or trace.language,
            trace.language_prob,
            recording.duration,
            trace.speech,
            tuple(recording.notes),
        )

    def transcribe_blocks(self, blocks: Iterable[Clip], trace: TranscribeProgress) -> Iterator[Segment]:
        """Blocks of one stream, mono at 16 kHz, to its segments; with speakers they come when it has ended."""
        decode = partial(transcribe_stream, self.engine(), detector=self._make_detector(), trace=trace)
        if self.diarizer is None:
            yield from decode(blocks, self.options)
            return
        with StreamTee(self.diarizer.diarize) as voices:
            found = list(decode(voices.tee(blocks), replace(self.options, word_timestamps=True)))
            turns = voices.result().turns
        yield from assign_speakers(found, turns)

    def check(self) -> None:
        """OptionsError for options that the model cannot honour."""
        if isinstance(self.model, EngineChoice):
            self.model.check(self.options, self._make_detector())
        else:
            check_engine(self.model, self.options, self._make_detector())

    def rehearsals(self) -> Mapping[str, Callable[[], Iterable[RecordFields]]]:
        """Return what hears a second of made-up sound: with the detector, with the model, and with who tells voices."""
        own = {} if self.diarizer is None else self.diarizer.rehearsals()
        return {self.model.name: self._rehearse, **own}

    def _rehearse(self) -> Iterable[RecordFields]:
        sound = make_noise()
        if (detector := self._make_detector()) is not None:
            for _ in cut_speech(detector, SpeechRules())([sound]):
                pass
        engine = self.engine()
        brief = TranscribeOptions(temperatures=(0.0,), max_tokens=1 if engine.kind == "whisper" else None)
        with defer_choice():
            for _ in transcribe_stream(engine, [sound], brief):
                pass
        return ()

    def engine(self) -> Engine:
        """The engine, made once in this process."""
        if not self._engines:
            self._engines.append(self.model.load() if isinstance(self.model, EngineChoice) else self.model)
        return self._engines[0]

    def _make_detector(self) -> Detector | None:
        return None if self.vad is None else make_detector(self.vad)

    def __getstate__(self) -> dict[str, Any]:
        """Travels to workers without its engine: each process makes its own."""
        return {**self.__dict__, "_engines": []}


def _report_progress(
    blocks: Iterable[Clip], trace: TranscribeProgress, on_progress: Callable[[TranscribeProgress], None] | None
) -> Iterator[Clip]:
    for block in blocks:
        yield block
        if on_progress is not None:
            on_progress(trace)


def _find_main_language(found: Iterable[Segment]) -> str:
    """Of most of the time; "" where no segment has one."""
    seconds: dict[str, float] = {}
    for segment in found:
        language = getattr(segment, "language", "")
        seconds[language] = seconds.get(language, 0.0) + segment.stop - segment.start
    return max(seconds, key=lambda language: seconds[language], default="")
