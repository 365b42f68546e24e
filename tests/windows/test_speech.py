"""Stretches of speech: Silero's rules on any probabilities, exact times, independent of the blocks of the stream."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synth import noise

from percepts.errors import TruncatedMedia
from percepts.types import Clip
from percepts.windows import Energy, SpeechRules, cut_speech
from percepts.windows.speech import SpanTracker

settings.load_profile("ci")

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "silero_spans.json").read_text())
RATE, FRAME = 1000, 10


class Said:
    """A detector that takes the first sample of each frame for the probability of speech."""

    frame = FRAME

    def listen(self, rate: float) -> Said:
        return self

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return frames[:, 0]


def sound(probabilities: list[float], extra: int = 0, start: float = 0.0) -> Clip:
    data = np.repeat(np.array(probabilities, np.float32), FRAME)
    return Clip(np.append(data, np.zeros(extra, np.float32))[None], "audio", RATE, start, "s")


def cut(clip: Clip, places: list[int]) -> list[Clip]:
    edges = [0, *sorted(place % (clip.length + 1) for place in places), clip.length]
    return [Clip(clip.data[:, a:b], "audio", RATE, clip.start + a / RATE, "s") for a, b in pairwise(edges)]


def seen(clips: list[Clip]) -> list[tuple[float, bytes]]:
    return [(clip.start, clip.data.tobytes()) for clip in clips]


likely = st.lists(st.sampled_from([0.0, 0.3, 0.4, 0.5, 0.9]), max_size=80)
lengths = st.sampled_from([0.0, 0.01, 0.02, 0.05, 0.1])
rules = st.builds(
    SpeechRules,
    min_speech=lengths,
    min_silence=lengths,
    pad=lengths,
    min_pause=lengths,
    max_speech=st.sampled_from([0.31, 0.5, float("inf")]),
)


def rules_of(settings: dict[str, float]) -> SpeechRules:
    """Convert Silero's names and milliseconds to ours."""
    given = {
        "enter": settings.get("threshold", 0.5),
        "leave": settings.get("neg_threshold"),
        "min_silence": settings.get("min_silence_duration_ms", 100) / 1000,
        "pad": settings.get("speech_pad_ms", 30) / 1000,
        "min_speech": settings.get("min_speech_duration_ms", 250) / 1000,
        "min_pause": settings.get("min_silence_at_max_speech", 98) / 1000,
        "max_speech": settings.get("max_speech_duration_s", float("inf")),
    }
    return SpeechRules(**given)


@pytest.mark.parametrize("case", REFERENCE, ids=lambda case: f"{case['total']}")
@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_spans_are_those_of_the_silero_package(case, at_once):
    spans = SpanTracker(rules_of(case["settings"]), case["rate"], 512 if case["rate"] == 16_000 else 256)
    heard = np.array(case["heard"]) / 100
    found = [span for i in range(0, len(heard), at_once) for span in spans.push(heard[i : i + at_once])]
    assert [list(span) for span in found + spans.finish(case["total"])] == case["spans"]


@given(likely, rules, st.integers(0, 9), st.lists(st.integers(0, 900), max_size=9), st.sampled_from([0.0, 3600.1]))
def test_speech_does_not_depend_on_how_the_stream_was_cut(probabilities, rules, extra, places, start):
    clip = sound(probabilities, extra, start)
    windower = cut_speech(Said(), rules)
    assert seen(list(windower(cut(clip, places)))) == seen(list(windower([clip])))


@given(likely, rules)
def test_clips_are_the_stream_at_their_times_in_order(probabilities, rules):
    clip, end = sound(probabilities, start=2.0), 0
    for part in cut_speech(Said(), rules)([clip]):
        at = round((part.start - 2.0) * RATE)
        assert part.start == 2.0 + at / RATE and at >= end
        assert np.array_equal(part.data, clip.data[:, at : at + part.length])
        end = at + part.length
        assert part.duration <= rules.max_speech


def test_a_stretch_is_given_as_soon_as_it_is_certain():
    blocks = cut(sound([0.9] * 40 + [0.0] * 200 + [0.9] * 40), list(range(0, 2800, FRAME)))
    taken = 0

    def counted() -> Iterator[Clip]:
        nonlocal taken
        for block in blocks:
            taken += block.length
            yield block

    first = next(cut_speech(Said())(counted()))
    assert first.stop == 0.43
    assert taken <= 400 + 100 + 2 * FRAME  # the silence that ends it, and no more than a frame to see it


def test_memory_is_that_of_the_longest_stretch_not_of_the_stream():
    block = np.full((1, RATE * 10), 0.9, np.float32)

    def hours() -> Iterator[Clip]:
        for i in range(720):
            yield Clip(block, "audio", RATE, i * 10.0)

    tracemalloc.start()
    count = sum(1 for _ in cut_speech(Said(), SpeechRules(max_speech=30.0))(hours()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count > 200
    assert peak < 5 * 30 * RATE * 4 + 1e6  # bytes: two stretches, a block and what makes them; two hours are 29 MB


def test_silence_and_nothing_hold_no_speech():
    silence = Clip(np.zeros((1, 16_000), np.float32), "audio", 16_000)
    assert not list(cut_speech()([silence]))
    assert not list(cut_speech()([]))


def test_a_source_that_breaks_off_is_cut_to_its_last_sample():
    def broken() -> Iterator[Clip]:
        yield sound([0.9] * 50)
        raise TruncatedMedia("the rest is missing")

    with pytest.raises(TruncatedMedia, match="missing"):
        for clip in cut_speech(Said())(broken()):
            assert (clip.start, clip.stop) == (0.0, 0.5)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_energy_hears_a_voice_in_noise_and_not_the_noise(rate):
    second = np.arange(rate) / rate
    sound = noise(rate, 12.0)[0] * 0.05
    for at in (6.0, 9.0):  # after the noise is known
        sound[round(at * rate) :][:rate] += (0.3 * np.sin(2 * np.pi * 150 * second)).astype(np.float32)
    found = [(clip.start, clip.stop) for clip in cut_speech()([Clip(sound[None], "audio", rate)]) if clip.start > 5]
    # a frame and a pad on either side
    np.testing.assert_allclose(found, [(6.0, 7.0), (9.0, 10.0)], atol=0.063)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SpeechRules(enter=1.5), "leave <= enter"),
        (lambda: SpeechRules(leave=0.7), "leave <= enter"),
        (lambda: SpeechRules(pad=-0.1), "zero or more"),
        (lambda: SpeechRules(max_speech=0.1), "max_speech"),
        (lambda: list(cut_speech()([Clip(np.zeros((2, 100), np.float32), "audio", RATE)])), "mix it down"),
        (lambda: list(cut_speech()([Clip(np.zeros((1, 2, 2, 3), np.uint8), "video", 5)])), "one channel"),
        (lambda: Energy().listen(10), "100 Hz"),
    ],
)
def test_what_cannot_be_used_is_said(make, said):
    with pytest.raises(ValueError, match=said):
        make()
