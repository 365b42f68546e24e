"""Transcribe a stream of audio with any engine: segments come as soon as they are certain, in bounded memory."""

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
"""Sample rate in Hz that every engine takes."""

SPEECH_RULES = SpeechRules(min_silence=0.5, max_speech=30.0, pad=0.2)
"""How a stream is cut into pieces of speech for an engine that goes through a stream by itself."""

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
    """Transcribe one stream to segments, in order and on the clock of the stream.

    The result does not depend on how the stream was cut into blocks. Memory is a few windows, however long the stream
    is. A source that ends with TruncatedMedia is transcribed to its last good sample before the error is raised.

    Args:
        engine: see `percepts.speech.engines`; `percepts.speech.loading.load_engine` makes one.
        clips: blocks of one stream, one channel at 16 kHz, each beginning where the one before ended.
        options: default `TranscribeOptions()`.
        detector: finds speech first, so that silence is not decoded and no words are invented for it. None: everything
            is decoded. Batches need a detector, because they are cut in pauses.
        trace: counters that are updated during the transcription.

    Raises:
        UnknownModel: an engine of no known kind.
        ValueError: several channels, another rate, a gap, or options that the engine does not support.
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
    """Raise OptionsError for options that the engine does not support, by transcribing an empty stream."""
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
    # Raises the TruncatedMedia that ended the stream, if there was one.
    source.release()
