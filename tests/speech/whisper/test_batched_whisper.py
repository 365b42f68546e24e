"""Windows cut at pauses and decoded together: each by itself, and only those that fail are decoded again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from test_longform import GERMAN, RATE, SAID, SCRIPT, SOUND, WORDS, Looping, talk, text, transcribed

from percepts.speech.engines import DecodedWindow, DecodingOptions
from percepts.speech.fake import FakeWhisper, HeardWord, speak
from percepts.speech.options import TranscribeOptions
from percepts.speech.results import TranscribeProgress
from percepts.windows.speech import Energy

OPTIONS = TranscribeOptions(word_timestamps=True, batch_size=4)


def test_every_word_comes_once_at_its_time_in_batches() -> None:
    trace = TranscribeProgress()
    found = transcribed(FakeWhisper({"en": WORDS}), SOUND, OPTIONS, detector=Energy(), trace=trace)
    words = [word for one in found for word in one.words]
    assert [word.text.strip() for word in words] == SAID == text(found)
    assert np.allclose([word.start for word in words], [start for _, start, _ in SCRIPT], atol=0.031)
    assert trace.speech is not None and 60 < trace.speech < 95 and trace.language == "en"


def test_the_size_of_the_batch_changes_nothing() -> None:
    found = [
        transcribed(FakeWhisper({"en": WORDS}), SOUND, TranscribeOptions(batch_size=size), detector=Energy())
        for size in (2, 3, 16)
    ]
    assert found[0] == found[1] == found[2] and text(found[0]) == SAID


def test_batches_need_a_detector() -> None:
    with pytest.raises(ValueError, match="needs a detector"):
        transcribed(FakeWhisper({"en": WORDS}), SOUND, OPTIONS)


class FirstLoops(Looping):
    """An engine that loops in the window of the first word only."""

    def say(self, heard: Sequence[HeardWord], search: DecodingOptions) -> DecodedWindow:
        mine = bool(heard) and self.words[heard[0].token] == SAID[0]
        return super().say(heard, search) if mine else FakeWhisper.say(self, heard, search)


def test_only_what_fails_is_decoded_again() -> None:
    engine, trace = FirstLoops({"en": WORDS}), TranscribeProgress()
    found = transcribed(engine, SOUND, OPTIONS, detector=Energy(), trace=trace)
    assert text(found) == SAID and trace.retries == 2
    assert [search.temperature for _, search in engine.asked] == [0.0] * 3 + [0.2, 0.4]  # three windows
    assert sorted({one.temperature for one in found}) == [0.0, 0.4]


def test_the_options_are_the_callers() -> None:
    engine = FakeWhisper({"en": WORDS})
    options = TranscribeOptions(
        batch_size=2, initial_prompt="w7", hotwords="w9", beam=3, temperatures=(0.3,), max_tokens=77, language="en"
    )
    transcribed(engine, SOUND, options, detector=Energy())
    tokens = engine.vocabulary
    start = (tokens.sot, tokens.languages["en"], tokens.transcribe)
    assert {prompt for prompt, _ in engine.asked} == {(tokens.previous, 9, 7, *start)}
    assert {(search.temperature, search.beam, search.max_tokens) for _, search in engine.asked} == {(0.3, 3, 77)}


def test_the_language_may_change_inside_a_batch() -> None:
    script = [*talk(60, 1, WORDS), *talk(60, 2, GERMAN, start=60.3)]
    sound = speak([*WORDS, *GERMAN], script, 120.0)
    engine = FakeWhisper({"en": WORDS, "de": GERMAN})
    options = TranscribeOptions(batch_size=8, languages=("en", "de"), word_timestamps=True)
    found = transcribed(engine, sound, options, detector=Energy())
    assert text(found) == [word for word, _, _ in script]
    heard = [one.language for one in found]
    assert heard == sorted(heard, reverse=True) and set(heard) == {"en", "de"}


class Everywhere(FakeWhisper):
    """An engine that adds words in the last second of its window, where nobody speaks."""

    def say(self, heard: Sequence[HeardWord], search: DecodingOptions) -> DecodedWindow:
        more = [self.time(29.0), 3, 4, self.time(29.9)]
        return DecodedWindow((*super().say(heard, search).tokens, *more), -0.1, 0.02)


def test_what_is_said_outside_of_speech_is_dropped() -> None:
    sound = SOUND[: 20 * RATE]
    found = transcribed(Everywhere({"en": WORDS}), sound, OPTIONS, detector=Energy())
    assert text(found) == [word for word, _, stop in SCRIPT if stop <= 20]
