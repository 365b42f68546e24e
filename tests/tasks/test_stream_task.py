"""Words of a stream: those of the recording, however it comes, and nothing committed is taken back."""

from __future__ import annotations

import io
import itertools
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from percepts.speech.fake import RATE, FakeCTC, FakeWhisper, speak, spell
from percepts.speech.options import TranscribeOptions
from percepts.speech.streaming.live_blocks import drain_live
from percepts.speech.streaming.online import StreamingConfig
from percepts.tasks.stream import replay, stream
from percepts.tasks.transcribe import transcribe
from percepts.types import Clip

SAID = ["ask not what your", "country can do for you", "ask what you can do"]
# A space ends the last word, as with real models; the pauses are long enough to end speech.
SOUND = np.concatenate([spell(f"{text} ", 0.5, 4.5) for text in SAID])
WORDS = " ".join(SAID).upper().split()


def wav(samples: np.ndarray = SOUND) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, subtype="PCM_16", format="WAV")
    return file.getvalue()


def clips(samples: np.ndarray, places: list[int], rate: float = RATE) -> list[Clip]:
    edges = [0, *sorted({p % (len(samples) + 1) for p in places}), len(samples)]
    return [Clip(samples[None, a:b], "audio", rate, a / rate) for a, b in itertools.pairwise(edges) if a < b]


WHOLE = list(stream(clips(SOUND, []), FakeCTC(), vad="energy"))


def words(events) -> list[str]:
    return [word.text.strip() for event in events if event.type == "committed" for word in event.words]


@pytest.mark.parametrize("vad", [None, "energy"])
def test_streamed_equals_offline(vad):
    events = list(stream(wav(), FakeCTC(), vad=vad))
    offline = transcribe(wav(), FakeCTC(), vad=None)
    assert words(events) == offline.text.split() == WORDS
    times = [word.start for event in events if event.type == "committed" for word in event.words]
    np.testing.assert_allclose(times, [w.start for s in offline.segments for w in s.words], atol=0.021)  # one frame


def test_whisper_streamed_equals_whisper_offline_beyond_its_window():
    names = [f"w{i}" for i in range(80)]
    spoken = [(word, 0.3 + 0.5 * i + 0.6 * (i // 6), 0.6 + 0.5 * i + 0.6 * (i // 6)) for i, word in enumerate(names)]
    sound = speak(names, spoken, 50.0)
    engine = FakeWhisper({"en": names})
    options = TranscribeOptions(word_timestamps=True, condition_on_previous_text=False)
    offline = transcribe(wav(sound), engine, options=options, vad=None)
    events = list(stream(wav(sound), engine, options=options, vad=None))
    assert words(events) == offline.text.split() == names
    starts = [word.start for event in events if event.type == "committed" for word in event.words]
    np.testing.assert_allclose(starts, [start for _, start, _ in spoken], atol=0.041)  # two frames of the encoder
    prompts = [
        engine.vocabulary.text.decode([t for t in prompt if t < engine.vocabulary.eot]) for prompt, _ in engine.asked
    ]
    assert any(prompt.split() for prompt in prompts)  # what was committed and cut off is what the next pass is told


def test_committed_words_are_never_taken_back_and_come_before_the_end():
    said, seen = 0, []
    for event in stream(wav(), FakeCTC(), vad=None):
        if event.type == "committed":
            assert event.words[0].start >= said - 0.1
            said = event.words[-1].stop
            seen.append(event.time)
    assert seen[0] < 4 and len(seen) > 5


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, len(SOUND)), max_size=6))
def test_how_the_stream_is_cut_changes_nothing(places):
    assert list(stream(clips(SOUND, places), FakeCTC(), vad="energy")) == WHOLE


def test_a_stream_at_any_rate_and_of_several_channels_is_heard():
    twice = np.repeat(SOUND, 2)
    both = [Clip(np.stack([c.data[0], c.data[0]]), "audio", c.rate, c.start) for c in clips(twice, [9], 2 * RATE)]
    assert words(stream(both, FakeCTC(), vad=None)) == WORDS


def test_a_stream_that_ends_in_a_word_commits_what_was_said_of_it():
    events = list(stream(clips(SOUND[: round(1.3 * RATE)], []), FakeCTC(), vad=None))
    assert words(events) == ["ASK", "NOT", "WH"]


def test_silence_says_nothing():
    assert list(stream(clips(np.zeros(5 * RATE, np.float32), []), FakeCTC(), vad="energy")) == []


def test_once_told_to_stop_it_commits_what_was_heard():
    stop = threading.Event()
    got = []
    for event in stream(wav(), FakeCTC(), vad=None, stop=stop):
        got.append(event)
        if event.time > 3:
            stop.set()
    assert words(got) == WORDS[: len(words(got))] and 2 < len(words(got)) < len(WORDS)


def test_what_comes_while_the_model_is_busy_is_heard_at_once():
    class Slow(FakeCTC):
        passes = 0

        def emissions(self, wave):
            self.passes += 1
            time.sleep(0.05)
            return super().emissions(wave)

    engine = Slow()
    events = list(stream(clips(SOUND, list(range(0, len(SOUND), 1600))), engine, vad=None, live=True))
    assert words(events) == WORDS
    assert engine.passes < 13  # 13.5 s of sound, and nearly all of it there at the second pass


def test_a_live_stream_that_never_ends_can_be_stopped_while_it_waits():
    stop = threading.Event()

    def forever() -> Iterator[Clip]:
        yield clips(SOUND[: 2 * RATE], [])[0]
        threading.Event().wait()

    threading.Timer(0.5, stop.set).start()
    assert words(stream(forever(), FakeCTC(), vad=None, live=True, stop=stop))[:2] == ["ASK", "NOT"]


def test_what_breaks_a_live_stream_off_is_raised_after_what_came():
    def broken() -> Iterator[Clip]:
        yield from clips(SOUND[:RATE], [100])
        raise OSError("unplugged")

    got = []
    with pytest.raises(OSError, match="unplugged"):
        for clip in drain_live(broken()):
            got.append(clip.length)
    assert sum(got) == RATE


def test_a_replay_on_a_clock_that_stands_still_is_the_stream():
    found = replay(wav(), FakeCTC(), vad="energy", clock="still")
    assert list(found.events) == list(stream(wav(), FakeCTC(), vad="energy"))
    assert found.latency.words == len(WORDS) and found.latency.rtf == 0
    assert 0 < found.latency.unaware["p50"] <= found.latency.unaware["p95"] < 3


def test_a_replay_on_a_real_clock_counts_computing():
    found = replay(wav(), FakeCTC(), vad=None, config=StreamingConfig(chunk_s=2.0))
    assert words(found.events) == WORDS
    assert found.latency.aware["mean"] > found.latency.unaware["mean"]
    assert found.latency.rtf > 0


def test_sentences_may_be_what_is_cut_after():
    assert words(stream(wav(), FakeCTC(), vad=None, config=StreamingConfig(trim_on="sentence"))) == WORDS
    with pytest.raises(ValueError, match="segment or sentence"):
        StreamingConfig(trim_on="word")
