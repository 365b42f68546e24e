"""Transcribe audio and the audio of videos: find speech, decode it, and say who speaks, in one pass over the audio."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Any, Self, Unpack

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
from .base import PerSourceTask, RecordFields
from .diarizer import Diarizer, SpeakerKeywords, Vad, make_detector, make_speaker_count
from .settings import get_only, setting

log = logging.getLogger(__name__)

RESTORED_BATCH_SIZE = 8
"""Windows decoded at once by a task made from stored settings, which say only that there were several: how many it
were changes no result."""
SPHINX_WARNING = (
    "transcribing with pocketsphinx, which is here without a download and poor: it gets about four words in ten wrong. "
    "Name a model for a transcript to rely on, such as openai/whisper-base or the folder of a model"
)


def transcribe(
    source: Source,
    model: str | Engine | None = None,
    *,
    engine: str | None = None,
    options: TranscribeOptions | None = None,
    vad: Vad | None = "silero",
    diarize: bool = False,
    on_progress: Callable[[TranscribeProgress], None] | None = None,
    **speakers: Unpack[SpeakerKeywords],
) -> Transcript:
    """Transcribe audio, or the audio of a video, of any length; memory does not grow with it.

    Args:
        source: path or bytes.
        model: a Hugging Face model or the folder of one: Whisper, or wav2vec 2.0, HuBERT or WavLM with a CTC head;
            "sphinx" for pocketsphinx, which brings a small model of English; or an engine. None: sphinx, if it is
            installed.
        engine: what runs the model, where several could: "transformers" or "ctranslate2".
        options: the options of the model.
        vad: the detector that finds speech first, so that silence is neither decoded nor filled with invented words:
            "silero", or "energy", which needs no weights. None: everything is decoded.
        diarize: name the speaker of every word, and cut segments where the speaker changes.
        on_progress: called after every ten seconds of audio.
        speakers: with `diarize`: `speakers`, how many there are, if it is known; else `min_speakers` (1) and
            `max_speakers` (20).

    Returns:
        The transcript; without segments if nobody speaks. Of damaged audio that of the good part, with a note.

    Raises:
        FileNotFoundError, MediaError: the source cannot be opened, or has no audio.
        UnknownModel: there is no such model, or it does not transcribe; the message says what does.
        WeightsError, MissingExtra: the weights or the engine are not here.
        OptionsError: options that the model cannot honour.
        ValueError: impossible numbers of speakers.

    >>> import percepts
    >>> percepts.transcribe("talk.mp4", "openai/whisper-base").text  # doctest: +SKIP
    'And so my fellow Americans ask not what your country can do for you, …'
    """
    task = TranscribeTask.create(model, engine=engine, options=options, vad=vad, diarize=diarize, **speakers)
    return task.run_one(source, on_progress)


def transcribe_iter(
    source: Source,
    model: str | Engine | None = None,
    *,
    engine: str | None = None,
    options: TranscribeOptions | None = None,
    vad: Vad | None = "silero",
) -> Iterator[Segment]:
    """Yield the segments of `transcribe`, each as soon as it is certain; arguments and errors are the same.

    Damage after a good beginning ends them with a logged warning.

    >>> for segment in transcribe_iter("talk.mp4", "openai/whisper-base"):  # doctest: +SKIP
    ...     print(segment.start, segment.text)
    """
    audio = AudioSource(source)
    task = TranscribeTask.create(model, engine=engine, options=options, vad=vad)
    yield from task.transcribe_blocks(audio.blocks(), TranscribeProgress())
    audio.log_notes()


def choose_model(model: str | Engine | None, engine: str | None = None) -> EngineChoice | Engine:
    """Return the model that was named, or the one that is here without a name; see `choose_engine` for its errors."""
    if model is None:
        if find_spec("pocketsphinx") is None:  # looked up, not imported: it is loaded when it is needed
            raise UnknownModel(
                "No model given and no default is available. Give --model, e.g. openai/whisper-base, another Hugging "
                "Face model or its folder; or pip install 'percepts[sphinx]' for a small and poor one"
            )
        log.warning("%s", SPHINX_WARNING)
        model = SPHINX
    return choose_engine(model, engine) if isinstance(model, str) else model


def _identify_engine(model: EngineChoice | Engine) -> dict[str, Any]:
    if not isinstance(model, EngineChoice):
        # An engine from Python: its weights cannot be read, so its class stands for it.
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
    stored = asdict(options)
    # How many windows are decoded at once changes nothing; whether a window knows the text before it does.
    batched = stored.pop("batch_size") > 1
    return {**stored, "batched": batched}


def _restore_options(stored: Mapping[str, Any], specs: Sequence[Spec]) -> TranscribeOptions:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    batched = values.pop("batched")
    return TranscribeOptions(**values, batch_size=RESTORED_BATCH_SIZE if batched else 1)


def _speakers_to_json(diarizer: Diarizer | None) -> dict[str, Any] | None:
    # The count is all: `create` gives a diarizer nothing else.
    return None if diarizer is None else asdict(diarizer.count)


def _restore_diarizer(stored: Mapping[str, Any] | None, specs: Sequence[Spec]) -> Diarizer | None:
    return None if stored is None else Diarizer(SpeakerCount(**stored))


@dataclass(frozen=True, eq=False)
class TranscribeTask(PerSourceTask):
    """The task of `percepts transcribe`: a model and its options, a detector of speech, and a diarizer if wanted."""

    model: EngineChoice | Engine = field(metadata=setting("models", _identify_engine, _restore_model))
    options: TranscribeOptions = field(
        default_factory=TranscribeOptions, metadata=setting("options", _options_to_json, _restore_options)
    )
    vad: Vad | None = "silero"
    diarizer: Diarizer | None = field(default=None, metadata=setting("diarize", _speakers_to_json, _restore_diarizer))
    # A list, which a frozen class can fill at the first use.
    _engines: list[Engine] = field(default_factory=list, repr=False)

    name = "transcribe"

    def __post_init__(self) -> None:
        if self.vad is not None:
            make_detector(self.vad)  # raises for an unknown name; a stream makes its own

    @classmethod
    def create(
        cls,
        model: str | Engine | None = None,
        *,
        engine: str | None = None,
        options: TranscribeOptions | None = None,
        vad: Vad | None = "silero",
        diarize: bool = False,
        **speakers: Unpack[SpeakerKeywords],
    ) -> Self:
        """Return the task; the arguments and the errors are those of `transcribe`. Nothing is loaded yet."""
        diarizer = Diarizer(make_speaker_count(**speakers)) if diarize else None
        return cls(choose_model(model, engine), options or TranscribeOptions(), vad, diarizer)

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One table, of texts."""
        return (Spec(name=self.model.name, kind="audio", rate=float(RATE)),)

    def process_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[Record]:
        """Yield the segments of one source, none without audio; damage at its end goes into `notes`."""
        if not medium.audio:
            return
        audio = AudioSource(source)
        for segment in self.transcribe_blocks(audio.blocks(), TranscribeProgress()):
            yield Record(
                audio.name,
                segment.start,
                segment.stop,
                self.model.name,
                "audio",
                text=segment.text,
                score=segment.score,
                speaker=segment.speaker,
                words=segment.words,
            )
        notes += audio.notes

    def explain_empty(self, medium: Probe) -> str:
        """Return why there is no segment; "" for audio in which nobody speaks, which is a result."""
        return "" if medium.audio else f"is {medium.kind} without sound"

    def run_one(self, source: Source, on_progress: Callable[[TranscribeProgress], None] | None = None) -> Transcript:
        """Return the transcript of one source; see `transcribe`."""
        audio, progress = AudioSource(source), TranscribeProgress()
        blocks = _report_progress(audio.blocks(), progress, on_progress)
        segments = tuple(self.transcribe_blocks(blocks, progress))
        audio.log_notes()
        return Transcript(
            audio.name,
            segments,
            _find_main_language(segments) or progress.language,
            progress.language_prob,
            audio.duration,
            progress.speech,
            tuple(audio.notes),
        )

    def transcribe_blocks(self, blocks: Iterable[Clip], progress: TranscribeProgress) -> Iterator[Segment]:
        """Yield the segments of one stream, mono at 16 kHz; with speakers they come when the stream has ended."""
        decode = partial(transcribe_stream, self.get_engine(), detector=self._make_detector(), trace=progress)
        if self.diarizer is None:
            yield from decode(blocks, self.options)
            return
        with StreamTee(self.diarizer.diarize) as diarizing:
            # Words are assigned to speakers by their times, so the model has to say them.
            segments = list(decode(diarizing.tee(blocks), replace(self.options, word_timestamps=True)))
            turns = diarizing.result().turns
        yield from assign_speakers(segments, turns)

    def validate(self) -> None:
        """Raise OptionsError for options that the model cannot honour."""
        if isinstance(self.model, EngineChoice):
            self.model.check(self.options, self._make_detector())
        else:
            check_engine(self.model, self.options, self._make_detector())

    def rehearsals(self) -> Mapping[str, Callable[[], Iterable[RecordFields]]]:
        """Return what runs the detector, the model and the diarizer on a second of made-up audio."""
        own = {} if self.diarizer is None else self.diarizer.rehearsals()
        return {self.model.name: self._rehearse, **own}

    def _rehearse(self) -> Iterable[RecordFields]:
        noise = make_noise()
        if (detector := self._make_detector()) is not None:
            for _ in cut_speech(detector, SpeechRules())([noise]):
                pass
        engine = self.get_engine()
        # Noise would be tried at every temperature. Only Whisper heeds a limit of tokens.
        brief = TranscribeOptions(temperatures=(0.0,), max_tokens=1 if engine.kind == "whisper" else None)
        with defer_choice():
            for _ in transcribe_stream(engine, [noise], brief):
                pass
        return ()

    def get_engine(self) -> Engine:
        """Return the engine, made once in this process."""
        if not self._engines:
            self._engines.append(self.model.load() if isinstance(self.model, EngineChoice) else self.model)
        return self._engines[0]

    def _make_detector(self) -> Detector | None:
        return None if self.vad is None else make_detector(self.vad)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the engine: each process makes its own."""
        return {**self.__dict__, "_engines": []}


def _report_progress(
    blocks: Iterable[Clip], progress: TranscribeProgress, on_progress: Callable[[TranscribeProgress], None] | None
) -> Iterator[Clip]:
    for block in blocks:
        yield block
        if on_progress is not None:
            on_progress(progress)


def _find_main_language(segments: Iterable[Segment]) -> str:
    """Return the language of most of the time; "" where no segment has one."""
    seconds: dict[str, float] = {}
    for segment in segments:
        language = getattr(segment, "language", "")  # only Whisper's segments have one
        seconds[language] = seconds.get(language, 0.0) + segment.stop - segment.start
    return max(seconds, key=lambda language: seconds[language], default="")
