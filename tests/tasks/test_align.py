"""A recording and its text: by a CTC engine of any length, by pocketsphinx without a hub, and what cannot be."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

import percepts
from percepts.errors import AlignError, NotMedia, UnknownModel
from percepts.speech.fake import RATE, FakeCTC, FakeWhisper, spell
from percepts.tasks.align import align


def wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, "FLOAT", format="WAV")
    return file.getvalue()


def test_words_are_laid_over_the_letters_that_spell_them():
    assert percepts.align is align
    sound = np.concatenate([spell("ask not", 1.0, 30.0), spell("what you", 2.0, 30.0), spell("can do", 0.5, 5.0)])
    first, second = align(wav(sound), "Ask not what\nyou can do!", "fake-ctc")
    assert (first.text, second.text) == ("Ask not what", "you can do!")
    starts = [round(word.start, 2) for segment in (first, second) for word in segment.words]
    assert starts == [1.0, 1.32, 32.0, 32.4, 60.5, 60.82]  # letters every 0.08 s, across three chunks of 24 s
    assert min(word.score for word in first.words) == pytest.approx(0.9, rel=1e-3)
    assert align(wav(sound), "Ask not what you can do, country", FakeCTC())[0].words[-1].score < 0.5


def test_what_cannot_be_aligned_is_said():
    sound = wav(spell("ask", 0.1, 1.0))
    with pytest.raises(AlignError, match="letters need"):
        align(sound, "ask " * 100, "fake-ctc")
    with pytest.raises(AlignError, match="no letter"):
        align(sound, " … ", "fake-ctc")
    with pytest.raises(UnknownModel, match="no letters to align by"):
        align(sound, "ask", FakeWhisper({"en": ["ask"]}))
    with pytest.raises(FileNotFoundError):
        align("no such file.wav", "ask", "fake-ctc")
    with pytest.raises(NotMedia):
        align(b"\x89PNG\r\n\x1a\n", "ask", "fake-ctc")
