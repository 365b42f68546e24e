"""A stream of sound and an engine in, segments out as soon as each is certain, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

from ..types import Clip, Segment
from ..windows.contiguous import TolerateTruncation
from ..windows.speech import Detector, SpeechRules, cut_speech
from .engines import CTCEngine, Engine, StandaloneEngine, WhisperEngine
from .options import TranscribeOptions
from .results import TranscribeProgress

RATE = 16_000
"""Hz of the sound that every engine takes."""

SPEECH_RULES = SpeechRules(min_silence=0.5, max_speech=30.0, pad=0.2)
"""Of the stretches that an engine with its own way is given, one by one."""

StreamFunction = Callable[
    [Any, Iterable[Clip], TranscribeOptions, Detector | None, TranscribeProgress], Iterator[Segment]
]
FAMILIES: tuple[tuple[type, str, str], ...] = (
    (WhisperEngine, ".whisper", "transcribe_whisper"),
    (CTCEngine, ".ctc.decode", "transcribe_ctc"),
)
"""Protocol, and where the way through a stream with such an engine is written."""


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
        ValueError: sound of several channels or of another rate, a gap, or options that the engine cannot honour.
    """
    options, trace = options or TranscribeOptions(), trace or TranscribeProgress()
    for family, module, function in FAMILIES:
        if isinstance(engine, family):
            through: StreamFunction = getattr(import_module(module, __package__), function)
            return through(engine, clips, options, detector, trace)
    assert isinstance(engine, StandaloneEngine)
    return _transcribe_standalone(engine, clips, options, detector, trace)


def check_engine(engine: Engine, options: TranscribeOptions, detector: Detector | None) -> None:
    """OptionsError for what the engine cannot honour, told by a stream without sound."""
    for _ in transcribe_stream(engine, (), options, detector=detector):
        pass


def _transcribe_standalone(
    engine: StandaloneEngine,
    clips: Iterable[Clip],
    options: TranscribeOptions,
    detector: Detector | None,
    trace: TranscribeProgress,
) -> Iterator[Segment]:
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
