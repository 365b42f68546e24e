"""Transcribe a stream while it goes on: committed words stay, partial words may still change."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

from ..media import Source, mix_to_mono
from ..preprocess.resample import resample
from ..speech.audio_source import RATE, AudioSource
from ..speech.engines import Engine
from ..speech.loading import EngineChoice
from ..speech.options import TranscribeOptions
from ..speech.streaming.events import (
    Clock,
    Event,
    LatencyStats,
    TimedTranscriber,
    frozen_clock,
    measure_latency,
    replay_events,
    stream_events,
)
from ..speech.streaming.live_blocks import drain_live
from ..speech.streaming.online import StreamingConfig, StreamingTranscriber, Transcriber
from ..speech.streaming.vad_gated import VadGatedTranscriber
from ..speech.transcribe import transcribe_stream
from ..support.deprecated import OldArgument, accept_old_arguments
from ..types import Clip, Segment
from ..windows.fixed import cut_fixed_windows
from ..windows.gate import AlwaysSpeech
from ..windows.speech import FRAME
from .diarizer import Vad, make_detector
from .transcribe import choose_model

BLOCK_S = 1.0
"""Seconds of a file that are decoded at a time."""
MAX_NO_SPEECH_PROB = 0.9
"""Words are dropped above this probability that nobody spoke; whisper_streaming's value."""


@accept_old_arguments(patience=OldArgument("config"))
def stream(
    source: Source | Iterable[Clip],
    model: str | Engine | None = None,
    *,
    engine: str | None = None,
    options: TranscribeOptions | None = None,
    config: StreamingConfig | None = None,
    vad: Vad | None = "silero",
    live: bool = False,
    stop: threading.Event | None = None,
) -> Iterator[Event]:
    """Yield words as they are said: "committed" ones stay, "partial" ones may change (LocalAgreement).

    With every second of new audio, the audio since the last cut is transcribed again; what two passes agree on is
    committed. Where somebody stops speaking, everything is. Memory and the time of a pass do not grow with the stream.

    Args:
        source: path or bytes of audio or a video, or blocks of one stream at any rate. How it is cut into blocks
            changes nothing, unless it is `live`.
        model: as for `percepts.transcribe`.
        engine: as for `percepts.transcribe`.
        options: the options of the model.
        config: how much audio is collected before a pass, and how many passes must agree.
        vad: the detector of speech: "silero", or "energy", which needs no weights. None: everything is transcribed.
        live: the blocks come in real time; those that came while the model was busy are taken together, so that it
            does not fall further and further behind.
        stop: once it is set, the stream ends as if no more audio came, and what was heard is committed.

    Raises:
        FileNotFoundError, MediaError: the source cannot be used.
        UnknownModel, WeightsError, MissingExtra: as `percepts.transcribe`.

    >>> for event in percepts.stream("talk.mp4", "openai/whisper-base"):  # doctest: +SKIP
    ...     print(event.type, *(word.text for word in event.words))
    """
    transcriber = _build_transcriber(model, engine, options, config, vad)
    blocks = _read_blocks(source)
    if live:
        return stream_events(drain_live(resample(blocks, RATE), stop), TimedTranscriber(transcriber, perf_counter))
    # A clock that stands still: the events of a file do not depend on the speed of this machine.
    return stream_events(_split_frames(_read_until(stop, blocks)), TimedTranscriber(transcriber, frozen_clock))


@dataclass(frozen=True, slots=True)
class Replay:
    """The events of a file that was streamed as if it were said now, and how late they were."""

    events: tuple[Event, ...]
    latency: LatencyStats


@accept_old_arguments(patience=OldArgument("config"))
def replay(
    source: Source,
    model: str | Engine | None = None,
    *,
    engine: str | None = None,
    options: TranscribeOptions | None = None,
    config: StreamingConfig | None = None,
    vad: Vad | None = "silero",
    clock: Literal["real", "still"] | Clock = "real",
) -> Replay:
    """Measure how late words would come if a file were said now on this machine; nothing sleeps. See `stream`.

    Args:
        source: path or bytes of audio or a video.
        model: as for `percepts.transcribe`.
        engine: as for `percepts.transcribe`.
        options: the options of the model.
        config: how much audio is collected before a pass, and how many passes must agree.
        vad: the detector of speech.
        clock: "real": computing takes its time; "still": it takes none, and the events are the same on every machine;
            or a function that returns the time in seconds.

    >>> percepts.replay("talk.wav", "openai/whisper-tiny").latency.aware["p95"]  # doctest: +SKIP
    2.31
    """
    watch = {"real": perf_counter, "still": frozen_clock}[clock] if isinstance(clock, str) else clock
    clocked = TimedTranscriber(_build_transcriber(model, engine, options, config, vad), watch)
    events = tuple(replay_events(_split_frames(_read_blocks(source)), clocked))
    return Replay(events, measure_latency(events, spent=clocked.spent))


def _build_transcriber(
    model: str | Engine | None,
    engine: str | None,
    options: TranscribeOptions | None,
    config: StreamingConfig | None,
    vad: Vad | None,
) -> VadGatedTranscriber:
    detector = AlwaysSpeech() if vad is None else make_detector(vad)
    found = choose_model(model, engine)
    # Loaded before the stream begins: audio would pile up in the meantime.
    ready = found.load() if isinstance(found, EngineChoice) else found
    return VadGatedTranscriber(
        StreamingTranscriber(make_transcriber(ready, options or TranscribeOptions()), config), detector
    )


def make_transcriber(engine: Engine, options: TranscribeOptions) -> Transcriber:
    """Return a function that transcribes a clip, given the text before it, into segments with words."""
    # Passes are compared word by word, so words need their times; a pass is one window, so there is nothing to batch.
    with_words = replace(options, word_timestamps=True, batch_size=1)

    def transcribe_clip(clip: Clip, before: str) -> Sequence[Segment]:
        # Of the engines only Whisper reads a prompt.
        prompt = f"{options.initial_prompt} {before}".strip() if engine.kind == "whisper" else ""
        found = transcribe_stream(engine, [clip], replace(with_words, initial_prompt=prompt or options.initial_prompt))
        # Only Whisper's segments have the probability.
        return [segment for segment in found if getattr(segment, "no_speech_prob", 0.0) <= MAX_NO_SPEECH_PROB]

    return transcribe_clip


def _read_blocks(source: Source | Iterable[Clip]) -> Iterator[Clip]:
    if isinstance(source, str | Path | bytes):
        return AudioSource(source, block=BLOCK_S).blocks()
    return map(mix_to_mono, source)


def _split_frames(blocks: Iterable[Clip]) -> Iterator[Clip]:
    """Yield frames of the detector's size one by one, so that where a pass begins does not depend on the blocks."""
    return cut_fixed_windows(FRAME, tail="keep")(resample(blocks, RATE))


def _read_until(stop: threading.Event | None, blocks: Iterator[Clip]) -> Iterator[Clip]:
    while stop is None or not stop.is_set():
        block = next(blocks, None)
        if block is None:
            return
        yield block
