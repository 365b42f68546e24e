"""Events and their lateness, with clocks that are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from percepts.speech.streaming.events import (
    Event,
    TimedTranscriber,
    frozen_clock,
    measure_latency,
    replay_events,
    stream_events,
)
from percepts.speech.streaming.online import StreamingConfig, StreamingTranscriber
from percepts.speech.streaming.vad_gated import VadGatedTranscriber
from percepts.types import Clip, Segment
from percepts.windows.gate import AlwaysSpeech

RATE = 1000
FRAME = 32


class Work:
    """A word a second, and a pass that takes so many seconds on its own clock."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.time, self.seconds, self.passes = 0.0, seconds, 0

    def clock(self) -> float:
        return self.time

    def __call__(self, clip: Clip, prompt: str) -> list[Segment]:
        self.time += self.seconds
        self.passes += 1
        words = [Segment(float(i), i + 0.5, f" w{i}") for i in range(99) if clip.start <= i and i + 0.5 <= clip.stop]
        return [Segment(words[0].start, words[-1].stop, "", tuple(words))] if words else []


def frames(seconds: float) -> list[Clip]:
    count = round(seconds * RATE / FRAME)
    return [Clip(np.zeros((1, FRAME), np.float32), "audio", RATE, i * FRAME / RATE) for i in range(count)]


def clocked(work: Work, clock=None) -> TimedTranscriber:
    return TimedTranscriber(
        VadGatedTranscriber(StreamingTranscriber(work, StreamingConfig(chunk_s=1.0)), AlwaysSpeech()),
        clock or work.clock,
    )


def words(events: list[Event]) -> list[str]:
    return [word.text.strip() for event in events if event.type == "committed" for word in event.words]


def test_on_a_clock_that_stands_still_words_are_late_by_the_sound_they_wait_for():
    stream = clocked(work := Work(), frozen_clock)
    events = list(replay_events(frames(6.4), stream))
    assert words(events) == [f"w{i}" for i in range(6)]
    assert all(event.time == event.received for event in events)
    assert events == list(stream_events(frames(6.4), clocked(Work(), frozen_clock)))
    # w0 ends at 0.5, is heard in the passes after 1 s and 2 s (whole frames: 1.024, 2.048), and committed by the second
    first = next(event for event in events if event.type == "committed")
    assert first.received == pytest.approx(2.048) and work.passes == 7
    found = measure_latency(events)
    assert found.words == 6 and found.rtf == 0 and found.aware == found.unaware
    assert 0.9 < found.unaware["mean"] <= found.unaware["p95"] < 1.7


def test_a_slow_model_is_late_and_takes_what_came_meanwhile_at_once():
    work = Work(2.5)
    stream = clocked(work)
    events = list(replay_events(frames(20.0), stream))
    assert words(events) == [f"w{i}" for i in range(20)]
    assert work.passes <= 9  # every 2.5 s and the last; one a second would fall behind for ever
    found = measure_latency(events, spent=stream.spent)
    assert found.aware["mean"] > found.unaware["mean"] > 0
    assert found.rtf == pytest.approx(work.passes * 2.5 / 20, rel=0.01)
    assert all(event.time >= event.received for event in events)


def test_times_never_go_back():
    events = list(replay_events(frames(10.0), clocked(Work(0.3))))
    assert [event.time for event in events] == sorted(event.time for event in events)


def said(kind: str, text: str, time: float) -> Event:
    return Event(kind, tuple(Segment(time - 1, time - 0.5, f" {word}") for word in text.split()), time, time)


def test_words_that_are_told_otherwise_are_revised_and_words_that_wait_stall():
    events = [
        said("partial", "and so mike", 1.0),
        said("committed", "and so", 2.0),
        said("partial", "my fellow", 2.0),
        said("partial", "my fell", 5.0),
        said("committed", "my fellow", 6.0),
        said("partial", "", 6.0),
    ]
    found = measure_latency(events)
    assert found.revision == pytest.approx(3 / 7)  # mike, fellow and fell of and so mike, my fellow, my fell
    assert found.stall == 4.0
    assert found.unaware["p50"] == 0.5


def test_nothing_said_is_not_late():
    found = measure_latency([])
    assert (found.words, found.revision, found.stall, found.aware["p95"]) == (0, 0.0, 0.0, 0.0)


def test_an_event_is_a_line_of_json():
    row = json.loads(json.dumps(said("committed", "ask", 2.0).row()))
    word = {"start": 1.0, "stop": 1.5, "text": " ask"}
    assert row == {"time": 2.0, "received": 2.0, "type": "committed", "words": [word]}
