"""Long audio through engines that misbehave on purpose: the words come once, in order, at their times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from percepts.errors import TruncatedMedia
from percepts.speech.engines import DecodedWindow, DecodingOptions
from percepts.speech.fake import FakeWhisper, HeardWord, speak, split_sentences
from percepts.speech.options import TranscribeOptions
from percepts.speech.results import TranscribeProgress, Utterance
from percepts.speech.transcribe import transcribe_stream
from percepts.types import Clip
from percepts.windows.speech import Energy

RATE = 16_000
WORDS = [f"w{i}" for i in range(200)]
GERMAN = [f"v{i}" for i in range(100)]
Script = list[tuple[str, float, float]]


def talk(seconds: float, seed: int = 0, words: Sequence[str] = WORDS, start: float = 0.3) -> Script:
    """Return sentences of three to eight words, with pauses of 0.6 to 2 s between."""
    rng, at, out = np.random.default_rng(seed), start, []
    while at < start + seconds - 6:
        for _ in range(rng.integers(3, 9)):
            length = float(rng.uniform(0.15, 0.4))
            out.append((words[rng.integers(len(words))], at, at + length))
            at += length + float(rng.uniform(0.04, 0.2))
        at += float(rng.uniform(0.6, 2))
    return out


def blocks(sound: np.ndarray, cuts: Sequence[int] = (), start: float = 0.0) -> Iterator[Clip]:
    at = 0
    for part in np.split(sound, sorted(cuts)):
        yield Clip(part[None], "audio", RATE, start + at / RATE)
        at += len(part)


def transcribed(
    engine: FakeWhisper, sound: np.ndarray, options: TranscribeOptions | None = None, **more: object
) -> list[Utterance]:
    cuts = more.pop("cuts", ())
    found = transcribe_stream(engine, blocks(sound, cuts), options, **more)  # type: ignore[arg-type]
    return [one for one in found if isinstance(one, Utterance)]


def text(found: Sequence[Utterance]) -> list[str]:
    return " ".join(one.text for one in found).split()


TIMED = TranscribeOptions(word_timestamps=True)
SCRIPT = talk(95)
SOUND = speak(WORDS, SCRIPT, 95.0)
SAID = [word for word, _, _ in SCRIPT]


def test_every_word_comes_once_at_its_time() -> None:
    trace = TranscribeProgress()
    found = transcribed(FakeWhisper({"en": WORDS}), SOUND, TIMED, trace=trace)
    words = [word for one in found for word in one.words]
    assert [word.text.strip() for word in words] == SAID == text(found)
    for word, (_, start, stop) in zip(words, SCRIPT, strict=True):
        assert word.start == pytest.approx(start, abs=0.031)  # half a hop, and a step of 20 ms
        assert word.stop >= stop - 0.031
    for one in found:
        assert "".join(word.text for word in one.words).strip() == one.text
        assert one.start <= one.words[0].start and one.words[-1].stop <= one.stop and one.language == "en"
    assert trace.heard == 95.0 and trace.stalled == trace.retries == 0 and trace.language == "en"


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, len(SOUND)), max_size=6), st.sampled_from([None, "energy"]), st.sampled_from([1, 3]))
def test_the_cut_of_the_stream_changes_nothing(cuts: list[int], vad: str | None, batch: int) -> None:
    detector = Energy() if vad or batch > 1 else None
    options = TranscribeOptions(word_timestamps=True, batch_size=batch)
    whole = transcribed(FakeWhisper({"en": WORDS}), SOUND, options, detector=detector)
    assert transcribed(FakeWhisper({"en": WORDS}), SOUND, options, detector=detector, cuts=cuts) == whole


def test_times_are_on_the_clock_of_the_source() -> None:
    early = transcribed(FakeWhisper({"en": WORDS}), SOUND[: 40 * RATE], TIMED)
    late = list(transcribe_stream(FakeWhisper({"en": WORDS}), blocks(SOUND[: 40 * RATE], start=3600.0), TIMED))
    assert [one.start for one in late] == pytest.approx([one.start + 3600 for one in early], abs=1e-6)


@pytest.mark.parametrize("detector", [None, Energy()], ids=["everything", "speech"])
def test_silence_and_nothing_give_nothing(detector: Energy | None) -> None:
    for seconds in (0, 0.004, 1, 70):
        sound, trace = np.zeros(int(seconds * RATE), np.float32), TranscribeProgress()
        assert transcribed(FakeWhisper({"en": WORDS}), sound, detector=detector, trace=trace) == []
    assert trace.language == "" or detector is None


def test_what_came_before_a_break_is_transcribed_before_the_error() -> None:
    def breaking() -> Iterator[Clip]:
        yield from blocks(SOUND[: 20 * RATE])
        raise TruncatedMedia("broken")

    found = transcribe_stream(FakeWhisper({"en": WORDS}), breaking())
    said = []
    with pytest.raises(TruncatedMedia):
        for one in found:
            said.append(one)
    assert [word for one in said for word in one.text.split()] == [w for w, _, stop in SCRIPT if stop <= 20]


def test_sound_that_is_not_mono_at_16_khz_is_refused() -> None:
    with pytest.raises(ValueError, match="one channel at 16000 Hz"):
        list(transcribe_stream(FakeWhisper({"en": WORDS}), [Clip(np.zeros((2, 100), np.float32), "audio", RATE)]))
    with pytest.raises(ValueError, match="one channel at 16000 Hz"):
        list(transcribe_stream(FakeWhisper({"en": WORDS}), [Clip(np.zeros((1, 100), np.float32), "audio", 8000)]))


class Hallucinating(FakeWhisper):
    """An engine that says four words where nobody speaks, with high probability and late in the window."""

    def say(self, heard: Sequence[HeardWord], search: DecodingOptions) -> DecodedWindow:
        if heard:
            return super().say(heard, search)
        made_up = [self.time(20.0), 0, 1, 2, 3, self.time(22.0)]
        return DecodedWindow(tuple(made_up), -0.2 * (len(made_up) + 1), 0.3)


def test_what_is_made_up_in_silence_is_dropped_where_that_is_asked_for() -> None:
    ends = [a[2] for a, b in pairwise(SCRIPT) if b[1] - a[2] > 0.55]  # of sentences
    half, end = (round((next(stop for stop in ends if stop > least) + 0.3) * RATE) for least in (12, 26))
    sound = np.concatenate([SOUND[:half], np.zeros(60 * RATE, np.float32), SOUND[half:end]])
    said = [word for word, _, stop in SCRIPT if stop * RATE < end]
    made_up = text(transcribed(Hallucinating({"en": WORDS}), sound, TIMED))
    assert len(made_up) > len(said)
    options = TranscribeOptions(word_timestamps=True, hallucination_silence_threshold=2.0)
    kept = text(transcribed(Hallucinating({"en": WORDS}), sound, options))
    assert kept == said
    with_vad = text(transcribed(Hallucinating({"en": WORDS}), sound, TIMED, detector=Energy()))
    assert with_vad == kept


class Looping(FakeWhisper):
    """An engine that repeats its first word forty times below temperature 0.4, with high probability."""

    def say(self, heard: Sequence[HeardWord], search: DecodingOptions) -> DecodedWindow:
        if not heard or search.temperature >= 0.4:
            return super().say(heard, search)
        tokens = [self.time(heard[0].start), *[heard[0].token] * 40, self.time(29.0)]
        return DecodedWindow(tuple(tokens), -0.1 * (len(tokens) + 1), 0.02)


def test_a_loop_is_left_by_a_higher_temperature() -> None:
    trace = TranscribeProgress()
    found = transcribed(Looping({"en": WORDS}), SOUND, trace=trace)
    assert text(found) == SAID and {one.temperature for one in found} == {0.4}
    assert trace.retries and trace.repeated == 0


def test_a_loop_that_no_temperature_ends_is_dropped() -> None:
    trace = TranscribeProgress()
    options = TranscribeOptions(temperatures=(0.0, 0.2), compression_ratio_threshold=None)
    assert transcribed(Looping({"en": WORDS}), SOUND, options, trace=trace) == [] and trace.repeated


class Unpaired(FakeWhisper):
    """An engine that gives only the first timestamp, and none in a window that begins with w-odd."""

    def say(self, heard: Sequence[HeardWord], search: DecodingOptions) -> DecodedWindow:
        tokens = [token for token in super().say(heard, search).tokens if token < self.vocabulary.eot]
        first = [self.time(heard[0].start)] if heard and heard[0].token % 2 else []
        return DecodedWindow((*first, *tokens), -0.1, 0.02 if heard else 0.95)


def test_a_window_without_pairs_is_one_segment_and_the_next_one_follows() -> None:
    found = transcribed(Unpaired({"en": WORDS}), SOUND)
    assert [round(one.start) for one in found] == [0, 30, 60] and found[-1].stop == 90.0
    assert len(text(found)) >= len(SAID) - 4  # a word at each edge may be lost or be heard twice


class Stuck(FakeWhisper):
    """An engine that puts everything at 0.00."""

    def say(self, heard: Sequence[HeardWord], search: DecodingOptions) -> DecodedWindow:
        words = [heard[0].token] if heard else [0]
        return DecodedWindow((self.time(0.0), *words, self.time(0.0), self.time(0.0)), -0.3, 0.02)


@pytest.mark.parametrize("options", [None, TIMED], ids=["plain", "words"])
def test_a_window_that_does_not_advance_is_passed_over(options: TranscribeOptions | None) -> None:
    trace = TranscribeProgress()
    found = transcribed(Stuck({"en": WORDS}), SOUND[: 10 * RATE], options, trace=trace)
    assert trace.heard == 10.0 and trace.stalled > 0 and len(found) < 10 * 10


class Dawdling(FakeWhisper):
    """An engine that advances three tenths of a second per window, and says something about the rest."""

    windows = 0

    def say(self, heard: Sequence[HeardWord], search: DecodingOptions) -> DecodedWindow:
        self.windows += 1
        return DecodedWindow((self.time(0.0), 0, self.time(0.3), self.time(0.3), self.windows), -0.3, 0.02)


def test_a_model_that_hardly_advances_decodes_a_window_a_second_at_most_and_loses_nothing() -> None:
    engine, trace = Dawdling({"en": WORDS}), TranscribeProgress()
    found = transcribed(engine, SOUND[: 60 * RATE], trace=trace)
    assert engine.windows <= 60 and trace.stalled == 2 and trace.heard == 60.0
    assert found[-1].stop == 60.0  # the rest of a window that is taken as it is
    assert all(a.stop <= b.start for a, b in pairwise(found))


class Doubting(FakeWhisper):
    """An engine that hears everything and reports silence; text below -1 is dropped, above it stays."""

    def __init__(self, likely: float) -> None:
        super().__init__({"en": WORDS})
        self.likely = likely

    def say(self, heard: Sequence[HeardWord], search: DecodingOptions) -> DecodedWindow:
        tokens = super().say(heard, search).tokens
        return DecodedWindow(tokens, self.likely * (len(tokens) + 1), 0.9)


def test_improbable_text_where_nobody_seems_to_speak_is_silence_and_is_not_tried_again() -> None:
    trace = TranscribeProgress()
    assert transcribed(Doubting(-1.2), SOUND, trace=trace) == [] and trace.retries == 0 and trace.silent == 4
    assert text(transcribed(Doubting(-0.5), SOUND)) == SAID
    never = TranscribeOptions(no_speech_threshold=None, logprob_threshold=None)
    assert text(transcribed(Doubting(-1.2), SOUND, never)) == SAID


def test_of_failed_temperatures_the_likeliest_is_taken() -> None:
    class Failing(FakeWhisper):
        def say(self, heard: Sequence[HeardWord], search: DecodingOptions) -> DecodedWindow:
            tokens = super().say(heard, search).tokens
            return DecodedWindow(tokens, (-3 + search.temperature * (1 - search.temperature)) * (len(tokens) + 1), 0.02)

    found = transcribed(Failing({"en": WORDS}), SOUND, TranscribeOptions(temperatures=(0.0, 0.6, 1.0)))
    assert text(found) == SAID and {one.temperature for one in found} == {0.6}


def test_each_window_is_told_what_was_said_before_it() -> None:
    engine = FakeWhisper({"en": WORDS})
    options = TranscribeOptions(initial_prompt="w7 w8", hotwords="w9")
    transcribed(engine, SOUND, options)
    tokens, prompts = engine.vocabulary, [prompt for prompt, _ in engine.asked]
    start = (tokens.sot, tokens.languages["en"], tokens.transcribe)
    assert prompts[0] == (tokens.previous, 9, 7, 8, *start)
    assert all(prompt[:2] == (tokens.previous, 9) and prompt[-3:] == start for prompt in prompts)
    assert len(prompts[1]) > len(prompts[0]) and max(map(len, prompts)) <= 1 + 223 + 3
    engine.asked.clear()
    transcribed(engine, SOUND, TranscribeOptions(condition_on_previous_text=False, task="translate"))
    assert {prompt for prompt, _ in engine.asked} == {(tokens.sot, tokens.languages["en"], tokens.translate)}


def test_the_language_is_that_of_the_first_speech() -> None:
    silent_first = speak([*WORDS, *GERMAN], talk(30, 1, GERMAN, start=40.0), 70.0)
    trace = TranscribeProgress()
    engine = FakeWhisper({"en": WORDS, "de": GERMAN})
    found = transcribed(engine, silent_first, trace=trace)
    assert {one.language for one in found} == {"de"} == {trace.language} and trace.language_prob > 0.9
    given = transcribed(engine, silent_first, TranscribeOptions(language="en"))
    assert {(one.language, one.language_prob) for one in given} == {("en", None)}


def test_the_language_changes_only_where_that_is_asked_for() -> None:
    words = [*WORDS, *GERMAN]
    script = [*talk(60, 1, WORDS), *talk(60, 2, GERMAN, start=60.3), *talk(60, 3, WORDS, start=120.3)]
    sound = speak(words, script, 180.0)
    engine = FakeWhisper({"en": WORDS, "de": GERMAN})
    once = transcribed(engine, sound)
    assert {one.language for one in once} == {"en"}
    often = transcribed(engine, sound, TranscribeOptions(languages=("en", "de")))
    heard = [one.language for one in often]
    assert [code for i, code in enumerate(heard) if heard[i - 1 : i] != [code]] == ["en", "de", "en"]


def test_an_unknown_language_and_a_task_that_is_beyond_the_model_are_refused() -> None:
    with pytest.raises(ValueError, match="does not know the language 'xx'; it knows en"):
        transcribed(FakeWhisper({"en": WORDS}), SOUND, TranscribeOptions(language="xx"))
    english = FakeWhisper({})
    with pytest.raises(ValueError, match="cannot translate"):
        transcribed(english, SOUND, TranscribeOptions(task="translate"))


def test_words_belong_to_sentences() -> None:
    heard = [HeardWord(0, 0.0, 0.4), HeardWord(1, 0.5, 0.9), HeardWord(2, 2.0, 2.2)]
    assert [len(sentence) for sentence in split_sentences(heard)] == [2, 1]
