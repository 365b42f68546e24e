"""Transcribe audio streams with a Whisper engine, window by window or in batches cut at pauses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...errors import OptionsError
from ...types import Clip
from ...windows.packs import pack_speech
from ...windows.speech import Detector
from ..engines import WhisperEngine
from ..options import TranscribeOptions
from ..results import TranscribeProgress, Utterance
from . import language
from .batched import BatchedTranscriber
from .longform import LongForm


def transcribe_whisper(
    engine: WhisperEngine,
    clips: Iterable[Clip],
    options: TranscribeOptions,
    detector: Detector | None,
    trace: TranscribeProgress,
) -> Iterator[Utterance]:
    """Transcribe the clips of one stream; `transcribe_stream` describes the arguments.

    With a detector, only the stretches of speech are decoded: one window after another, or several windows at once.
    """
    _check_batches(options, detector)
    if options.batch_size > 1 and detector is not None:
        return BatchedTranscriber(engine, options, trace).run(pack_speech(clips, detector, window=engine.window))
    # One object for all stretches: language, prompt and repetitions carry over from one to the next.
    through = LongForm(engine, options, trace)
    return (
        through.run(clips)
        if detector is None
        else _transcribe_stretches(through, clips, detector, engine.window, trace)
    )


def check_checkpoint(name: str, options: TranscribeOptions, detector: Detector | None) -> None:
    """Raise OptionsError for options that a checkpoint cannot honour, without loading its weights."""
    _check_batches(options, detector)
    language.check_checkpoint(name, options)


def _check_batches(options: TranscribeOptions, detector: Detector | None) -> None:
    if options.batch_size > 1 and detector is None:
        raise OptionsError(
            f"batch_size {options.batch_size} needs a detector of speech, because batches are cut at pauses: "
            "pass a detector, or use batch_size 1"
        )


def _transcribe_stretches(
    through: LongForm, clips: Iterable[Clip], detector: Detector, window: float, trace: TranscribeProgress
) -> Iterator[Utterance]:
    """Transcribe the stretches of speech that the detector finds, packed into windows of at most `window` seconds."""
    trace.speech = trace.speech or 0.0  # None means that no detector was asked
    for pack in pack_speech(clips, detector, window=window):
        trace.speech += sum(stop - start for start, stop in pack.spoken)
        yield from through.run([pack.clip])
