"""Only speech reaches the model, in its place and in order, however the stream comes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from percepts.speech.streaming.online import StreamingTranscriber
from percepts.speech.streaming.vad_gated import VadGatedTranscriber
from percepts.types import Clip, Segment
from percepts.windows.gate import TALK, AlwaysSpeech
from percepts.windows.speech import Energy

RATE = 1000
FRAME = 32


class Level:
    """Speech is where the samples say so."""

    frame = FRAME

    def listen(self, rate: float) -> Level:
        return self

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return frames.mean(axis=1)


class Heard:
    """A word for every second that begins in the clip; keeps the clips it was given."""

    def __init__(self) -> None:
        self.clips: list[Clip] = []

    def __call__(self, clip: Clip, prompt: str) -> list[Segment]:
        self.clips.append(clip)
        first, last = int(np.ceil(clip.start - 1e-9)), int(np.floor(clip.stop - 0.5))
        words = tuple(Segment(float(i), i + 0.5, f" w{i}") for i in range(first, last + 1))
        return [Segment(words[0].start, words[-1].stop, "", words)] if words else []


def sound(talk: list[tuple[float, float]], seconds: float, start: float = 0.0) -> Clip:
    data = np.zeros(round(seconds * RATE), np.float32)
    for a, b in talk:
        data[round(a * RATE) : round(b * RATE)] = 1
    return Clip(data[None], "audio", RATE, start)


def cut(clip: Clip, places: list[int]) -> list[Clip]:
    edges = [0, *sorted({min(p, clip.length) for p in places if p > 0} - {clip.length}), clip.length]
    return [Clip(clip.data[:, a:b], "audio", RATE, clip.start + a / RATE) for a, b in itertools.pairwise(edges)]


def run(blocks: list[Clip], model: Heard, detector=None) -> tuple[list[str], float]:
    voiced, said, longest = VadGatedTranscriber(StreamingTranscriber(model), detector or Level()), [], 0.0
    for block in blocks:
        for update in voiced.push(block):
            said += [word.text.strip() for word in update.committed]
        longest = max(longest, voiced.seconds)
    for update in voiced.finish():
        said += [word.text.strip() for word in update.committed]
    return said, longest


def test_a_stretch_of_speech_is_committed_at_its_end_and_silence_is_never_heard():
    model = Heard()
    said, _ = run(cut(sound([(2.0, 4.8), (8.0, 9.8)], 14.0), list(range(0, 14_000, 250))), model)
    assert said == ["w2", "w3", "w4", "w8", "w9"]
    assert min(c.start for c in model.clips) == pytest.approx(1.9, abs=0.04)
    assert all(c.stop < 4.92 + 0.04 or c.start > 7.8 for c in model.clips)


def test_several_boundaries_in_one_block_are_taken_in_order():
    model = Heard()
    said, _ = run([sound([(1.0, 2.8), (4.0, 5.8), (7.0, 9.8)], 12.0)], model)
    assert said == ["w1", "w2", "w4", "w5", "w7", "w8", "w9"]


def test_a_stream_that_ends_in_a_word_commits_what_was_heard_of_it():
    assert run([sound([(1.0, 3.0)], 2.6)], Heard())[0] == ["w1", "w2"]


def test_nothing_but_silence_says_nothing_and_a_second_of_it_is_kept():
    said, longest = run(cut(sound([], 60.0), list(range(0, 60_000, 500))), Heard())
    assert said == [] and longest <= 1.0 + 0.5 + 2 * FRAME / RATE


def test_without_voice_control_everything_is_heard():
    assert run([sound([], 3.0)], Heard(), AlwaysSpeech())[0] == ["w0", "w1", "w2"]


def test_a_stream_goes_on_elsewhere_after_its_end():
    voiced = VadGatedTranscriber(StreamingTranscriber(Heard()), Level())
    voiced.push(sound([(0.0, 2.0)], 2.0))
    voiced.finish()
    assert not voiced.push(sound([(0.5, 1.0)], 1.0, start=100.0))  # less than a second of speech: no pass
    (update,) = voiced.finish()
    assert [word.text for word in update.committed] == []
    assert voiced.seconds == 0


@given(
    st.lists(st.tuples(st.integers(0, 80), st.integers(6, 60)), max_size=4),
    st.lists(st.integers(0, 40_000), max_size=8),
)
def test_what_is_committed_does_not_depend_on_how_the_stream_is_cut(gaps, places):
    at, talk = 0.0, []
    for gap, length in gaps:
        talk.append((at + gap / 10, at + (gap + length) / 10))
        at = talk[-1][1]
    whole = sound(talk, at + 1.0)
    assert run(cut(whole, places), Heard())[0] == run([whole], Heard())[0]


def test_blocks_that_do_not_follow_or_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one channel"):
        VadGatedTranscriber(StreamingTranscriber(Heard()), Level()).push(
            Clip(np.zeros((2, 99), np.float32), "audio", RATE)
        )
    voiced = VadGatedTranscriber(StreamingTranscriber(Heard()), Level())
    voiced.push(sound([], 1.0))
    with pytest.raises(ValueError, match="next block at"):
        voiced.push(sound([], 1.0, start=5.0))
    with pytest.raises(ValueError, match="100 Hz"):
        VadGatedTranscriber(StreamingTranscriber(Heard()), Energy()).push(
            Clip(np.zeros((1, 9), np.float32), "audio", 10)
        )


def test_the_default_rules_are_those_of_whisper_streaming():
    assert (TALK.enter, round(TALK.exit, 2), TALK.min_silence, TALK.pad) == (0.5, 0.35, 0.5, 0.1)
