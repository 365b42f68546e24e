from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from percepts.errors import UnknownModel
from percepts.preprocess.mel import whisper_log_mel
from percepts.speech.engines import CTCEngine, DecodingOptions, Engine, WhisperEngine
from percepts.speech.fake import FakeCTC, FakeWhisper, speak, spell
from percepts.speech.transcribe import TRANSCRIBERS, import_target, transcribe_stream
from percepts.types import Clip

WORDS = [f"w{i}" for i in range(495)]


def test_the_fakes_are_engines_of_their_family_and_of_no_other() -> None:
    assert isinstance(FakeWhisper({"en": ["a"]}), WhisperEngine) and not isinstance(FakeWhisper({}), CTCEngine)
    assert isinstance(FakeCTC(), CTCEngine) and not isinstance(FakeCTC(), WhisperEngine)


@pytest.mark.parametrize("kind", ["whisper", "ctc"])
def test_an_engine_is_run_by_its_kind_and_by_nothing_else_that_it_has(kind: str) -> None:
    silence = [Clip(np.zeros((1, 16000), np.float32), "audio", 16000.0)]
    calls: list[str] = []

    class Both(FakeCTC, FakeWhisper):  # type: ignore[misc]  # has every method of a CTC and of a Whisper engine
        def __init__(self) -> None:
            FakeWhisper.__init__(self, {"en": ["a"]})

        def emissions(self, wave: np.ndarray) -> np.ndarray:
            calls.append("ctc")
            return np.zeros((len(wave) // 320, 29), np.float32)

        def encode(self, mel: np.ndarray) -> np.ndarray:
            calls.append("whisper")
            return super().encode(mel)

    engine: Any = Both()
    engine.kind = kind
    engine.vocabulary = FakeCTC.vocabulary if kind == "ctc" else FakeWhisper({"en": ["a"]}).vocabulary
    list(transcribe_stream(engine, silence))
    assert set(calls) == {kind}


def test_an_engine_of_no_known_kind_is_refused_with_the_kinds_there_are() -> None:
    odd: Any = FakeCTC()
    odd.kind = "rnn-t"
    with pytest.raises(UnknownModel, match="kind is one of whisper, ctc, standalone, got 'rnn-t'"):
        transcribe_stream(odd, [])


def test_every_kind_has_a_function() -> None:
    assert all(callable(import_target(target)) for target in TRANSCRIBERS.values())
    declared = {engine.__annotations__["kind"] for engine in get_args(Engine)}
    assert declared == {f"ClassVar[Literal['{kind}']]" for kind in TRANSCRIBERS}


@pytest.mark.parametrize("seed", range(3))
def test_every_word_is_heard_at_its_time(seed: int) -> None:
    rng, at, spoken = np.random.default_rng(seed), 0.3, []
    while at < 28:
        length = rng.uniform(0.1, 0.5)
        spoken.append((WORDS[rng.integers(495)], at, at + length))
        at += length + rng.uniform(0.02, 0.9)
    engine = FakeWhisper({"en": WORDS})
    states = engine.encode(whisper_log_mel(speak(engine.words, spoken, 30.0))[None])
    vocabulary = engine.vocabulary
    [decoded] = engine.decode(states, [[vocabulary.sot]], DecodingOptions())
    words = [token for token in decoded.tokens if token < vocabulary.eot]
    assert vocabulary.text.decode(words).split() == [word for word, _, _ in spoken]
    [alignment] = engine.align(states, [], [words], [1500])
    starts = alignment.frames[:-1] * 0.02
    assert np.allclose(starts, [start for _, start, _ in spoken], atol=0.031)  # half a hop, and a step of 20 ms


def test_every_letter_is_heard_wherever_the_sound_is_cut_between_frames() -> None:
    engine, wave = FakeCTC(), spell("all my fellow", 0.1, 2.0)
    whole = engine.emissions(wave)
    parts = [engine.emissions(part) for part in np.split(wave, [320 * 7, 320 * 31])]
    assert np.array_equal(whole, np.concatenate(parts))
    said = [engine.vocabulary[i] for i in whole.argmax(axis=1)]
    letters = "".join(a for a, b in zip(said, ["", *said], strict=False) if a != b)
    assert letters == "ALL|MY|FELLOW"
