"""pocketsphinx on a real recording: words that were said, when they were said, in bounded memory."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from percepts.errors import AlignError
from percepts.media import mix_to_mono, stream_audio
from percepts.preprocess.resample import resample
from percepts.speech.engines import StandaloneEngine
from percepts.speech.options import TranscribeOptions
from percepts.speech.transcribe import transcribe_stream
from percepts.types import Clip, Segment

pytest.importorskip("pocketsphinx", reason="pocketsphinx is an extra: pip install 'percepts[sphinx]'")

from percepts.speech.sphinx import RATE, Sphinx

SAID = """And so, my fellow Americans:
ask not what your country can do for you —
ask what you can do for your country."""


@pytest.fixture(scope="module")
def engine() -> Sphinx:
    return Sphinx()


@pytest.fixture(scope="module")
def recording(shared: Path) -> list[Clip]:
    return list(resample(map(mix_to_mono, stream_audio(shared / "speech" / "jfk.flac")), RATE))


@pytest.fixture(scope="module")
def heard(engine, recording) -> list[Segment]:
    return list(transcribe_stream(engine, recording))


def errors(said: list[str], found: list[str]) -> int:
    """Words to change, leave out or put in (Levenshtein)."""
    row = list(range(len(found) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(found, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def test_what_kennedy_said_is_found_when_he_said_it(heard):
    assert isinstance(Sphinx(), StandaloneEngine)
    words = [word for segment in heard for word in segment.words]
    text = " ".join(segment.text for segment in heard)
    assert "my fellow" in text and "your country" in text
    said = "".join(letter for letter in SAID.lower() if letter.isalpha() or letter.isspace()).split()
    assert errors(said, text.split()) / len(said) < 0.6  # it is 0.23
    times = {word.text.strip(): (word.start, word.stop) for word in reversed(words)}  # the first of each
    assert 0.9 < times["my"][0] < 1.3 and 1.1 < times["fellow"][0] < 1.7
    assert 5.6 < times["country"][0] < 6.1
    assert all(0 <= a.start < a.stop <= b.start + 0.011 for a, b in pairwise(words)) and words[-1].stop <= 11.0


def test_a_known_text_is_laid_over_the_sound(engine, recording):
    lines = engine.align(recording, SAID)
    assert [line.text for line in lines] == SAID.splitlines()
    words = {word.text.strip(): word for line in reversed(lines) for word in reversed(line.words)}
    reference = {"Americans:": (1.63, 2.15), "ask": (3.25, 3.98), "country": (5.86, 6.41)}  # speech.md, by hand
    for word, (start, stop) in reference.items():
        assert abs(words[word].start - start) < 0.05 and abs(words[word].stop - stop) < 0.05, words[word]
    assert words["—"].start == words["you"].stop  # a dash is between its neighbours


def test_words_it_cannot_say_are_named(engine, recording):
    with pytest.raises(AlignError, match="'1961'"):
        engine.align(recording, "in 1961 he said")
    with pytest.raises(AlignError, match="nothing"):
        engine.align(recording, "…")
    with pytest.raises(AlignError, match="at most 600 s"):
        engine.align([Clip(np.zeros((1, 601 * RATE), np.float32), "audio", RATE)], "ask")
    with pytest.raises(AlignError, match="cannot align"):
        engine.align([Clip(np.zeros((1, 800), np.float32), "audio", RATE)], SAID)


def test_silence_and_nothing_say_nothing(engine):
    assert list(transcribe_stream(engine, [])) == []
    assert list(transcribe_stream(engine, [Clip(np.zeros((1, RATE), np.float32), "audio", RATE)])) == []


@pytest.mark.parametrize("asked", [{"language": "de"}, {"task": "translate"}, {"hotwords": "x"}])
def test_what_it_cannot_do_is_refused(engine, asked):
    with pytest.raises(ValueError, match="sphinx"):
        list(transcribe_stream(engine, [], TranscribeOptions(**asked)))


def test_a_long_stream_is_cut_in_its_pauses(engine, monkeypatch):
    tone = (0.3 * np.sin(np.arange(3 * RATE) / 8)).astype(np.float32)
    wave = np.concatenate([np.zeros(RATE, np.float32), tone, np.zeros(2 * RATE, np.float32)] * 8)
    lengths = []

    def decoded(self, decoder, clip):
        lengths.append(clip.duration)
        yield Segment(clip.start, clip.stop, " tone")

    monkeypatch.setattr(Sphinx, "_decode_words", decoded)
    blocks = [Clip(wave[None, a : a + RATE], "audio", RATE, a / RATE) for a in range(0, len(wave), RATE)]
    found = list(transcribe_stream(engine, blocks))
    assert len(found) == 8 and max(lengths) < 4
    assert [round(segment.start) for segment in found] == [6 * i + 1 for i in range(8)]
