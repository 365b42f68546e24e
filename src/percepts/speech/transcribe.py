"""A stream of sound and an engine in, segments out as soon as each is certain, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from ..errors import UnknownModel
from ..types import Clip, Segment
from ..windows.contiguous import TolerateTruncation
from ..windows.speech import Detector, SpeechRules, cut_speech
from .engines import Engine, StandaloneEngine
from .options import TranscribeOptions
from .results import TranscribeProgress

RATE = 16_000
"""Hz of the sound that every engine takes."""

SPEECH_RULES = SpeechRules(min_silence=0.5, max_speech=30.0, pad=0.2)
"""Of the stretches that an engine with its own way is given, one by one."""

StreamFunction = Callable[
    [Any, Iterable[Clip], TranscribeOptions, Detector | None, TranscribeProgress], Iterator[Segment]
]
TRANSCRIBERS: Mapping[str, str] = {
    "whisper": ".whisper:transcribe_whisper",
    "ctc": ".ctc.decode:transcribe_ctc",
    "standalone": ".transcribe:transcribe_standalone",
}
"""The function that transcribes a stream with each kind of engine, as "module:function" below this package."""


def transcribe_stream(
    engine: Engine,
    clips: Iterable[Clip],
    options: TranscribeOptions | None = None,
    *,
    detector: Detector | None = None,
    trace: TranscribeProgress | None = None,
) -> Iterator[Segment]:
    """Transcribe one stream: blocks in, segments out, in order and on the clock of the stream.

    How the stream was cut into blocks changes nothing. Memory is a few windows, however long the stream is. A source
    that breaks off with TruncatedMedia is transcribed to its last good sample before the error is passed on.

    Args:
        engine: see `percepts.speech.engines`; `percepts.speech.loading.load_engine` makes one.
        clips: blocks of one stream, one channel at 16 kHz, each where the one before ended.
        options: what is asked; default `TranscribeOptions()`.
        detector: finds the speech first, so that silence is neither decoded nor made up for. None: everything is
            decoded. Batches need one, because they are cut in pauses.
        trace: is kept up to date with how it is getting on.

    Raises:
        UnknownModel: an engine of no known kind.
        ValueError: sound of several channels or of another rate, a gap, or options that the engine cannot honour.
    """
    kind: Any = getattr(engine, "kind", None)
    if kind not in TRANSCRIBERS:
        raise UnknownModel(
            f"expected an engine whose kind is one of {', '.join(TRANSCRIBERS)}, got {kind!r}: {engine!r}"
        )
    # Imported only now, so that a CTC model or sphinx loads nothing of Whisper.
    transcribe: StreamFunction = import_target(TRANSCRIBERS[kind])
    return transcribe(engine, clips, options or TranscribeOptions(), detector, trace or TranscribeProgress())


def import_target(target: str) -> Any:
    """Return what "module:name" names, a module below this package."""
    module, name = target.split(":")
    return getattr(import_module(module, __package__), name)


def check_engine(engine: Engine, options: TranscribeOptions, detector: Detector | None) -> None:
    """OptionsError for what the engine cannot honour, told by a stream without sound."""
    for _ in transcribe_stream(engine, (), options, detector=detector):
        pass


def transcribe_standalone(
    engine: StandaloneEngine,
    clips: Iterable[Clip],
    options: TranscribeOptions,
    detector: Detector | None,
    trace: TranscribeProgress,
) -> Iterator[Segment]:
    """Pass the stream, or each piece of speech in it, to an engine that goes through a stream by itself."""
    source = TolerateTruncation(clips)
    heard = trace.count_blocks(source)
    if detector is None:
        yield from engine.transcribe(heard, options)
    else:
        trace.speech = 0.0
        for stretch in cut_speech(detector, SPEECH_RULES)(heard):
            trace.speech += stretch.duration
            yield from engine.transcribe([stretch], options)
    source.release()
