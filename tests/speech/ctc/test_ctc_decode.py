"""CTC: chunks are one pass, words are decoded once over all of them, and memory is four bytes a frame."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted, sound, spelled

from percepts.errors import EncodeError, TruncatedMedia
from percepts.speech.ctc.decode import BestPath, Chunking, compute_emissions, decode_words, group_words, transcribe_ctc
from percepts.speech.fake import FakeCTC, spell
from percepts.speech.options import TranscribeOptions
from percepts.speech.results import TranscribeProgress
from percepts.speech.transcribe import transcribe_stream
from percepts.types import Clip, Segment

settings.load_profile("ci")

letters = st.lists(st.integers(0, 7), min_size=1, max_size=120)


def cut(clip: Clip, places: list[int]) -> list[Clip]:
    edges = [0, *sorted(place % (clip.length + 1) for place in places), clip.length]
    return [Clip(clip.data[:, a:b], "audio", clip.rate, clip.start + a / clip.rate, "s") for a, b in pairwise(edges)]


def said_in(engine, clips, chunk=None) -> Iterator[Segment]:
    return transcribe_ctc(engine, clips, TranscribeOptions(), None, TranscribeProgress(), chunk)


@given(letters, st.integers(0, 9), st.integers(1, 30), st.integers(0, 8), st.data())
def test_chunks_with_stride_are_one_pass(said, extra, own, side, data):
    """For every chunk, every stride, every cut of the stream, and a network that sees as far as the stride reaches."""
    engine = Scripted(context=data.draw(st.integers(0, side)))
    clip = sound(said, extra, start=3600.1)
    chunk = Chunking((own + 2 * side) / 100, side / 100)
    places = data.draw(st.lists(st.integers(0, 2000), max_size=6))
    whole = engine.emissions(clip.data[0])
    found = np.concatenate(list(compute_emissions(engine, cut(clip, places), chunk)))
    assert np.array_equal(found, whole)


@given(letters, st.integers(1, 30), st.integers(0, 8))
def test_words_do_not_depend_on_the_chunks(said, own, side):
    engine, clip = Scripted(), sound(said)
    chunk = Chunking((own + 2 * side) / 100, side / 100)
    assert list(said_in(engine, [clip], chunk)) == list(said_in(engine, [clip], Chunking(100)))


def test_a_word_across_a_seam_is_one_word_with_its_times():
    engine = Scripted()
    clip = sound(spelled("__aab||b_bb__" + "_" * 100 + "|no_oow_"), start=2.0)
    for own in range(1, 20):
        first, second = said_in(engine, [clip], Chunking(own / 100, 0))
        assert (first.text, second.text) == ("ab bb", "noow")
        assert [(word.text, round(word.start, 3), round(word.stop, 3)) for word in first.words] == [
            (" ab", 2.02, 2.05),
            (" bb", 2.07, 2.11),
        ]


def test_the_score_of_a_word_is_that_of_its_letters():
    best = BestPath()
    table = np.full((4, 8), 1e-6)
    for frame, (letter, p) in enumerate([(2, 0.5), (0, 0.9), (2, 0.8), (1, 1.0)]):
        table[frame, letter] = p
    best.append(np.log(table))
    (word,) = decode_words(best, Scripted())
    assert word.text == " aa" and word.score == pytest.approx(np.sqrt(0.5 * 0.8), rel=2e-3)  # float16 has 11 bits


def test_a_vocabulary_without_delimiter_holds_its_own_spaces():
    class Spaced(Scripted):
        vocabulary = ("<pad>", " a", "b", "</s>", " c", "x", "y", "z")
        delimiter = ""

    best = BestPath()
    best.append(Spaced().emissions(sound([1, 2, 3, 0, 4, 2, 0, 0]).data[0]))
    assert [word.text for word in decode_words(best, Spaced())] == [" ab", " cb"]


def test_no_letters_are_no_words():
    assert list(said_in(Scripted(), [sound([0] * 50)])) == []
    assert list(said_in(Scripted(), [])) == []
    assert list(decode_words(BestPath(), Scripted())) == []


def test_segments_end_in_pauses_and_do_not_go_on_for_ever():
    said = [Segment(i, i + 0.9, " a", score=0.5) for i in range(60)] + [Segment(70.0, 71.0, " b")]
    found = list(group_words(said))
    assert [word for segment in found for word in segment.words] == said
    assert found[-1].text == "b" and found[-1].score is None and found[0].score == 0.5
    assert max(segment.stop - segment.start for segment in found) <= 20


class Loud:
    """A detector for tones."""

    frame = 320

    def listen(self, rate):
        return self

    def __call__(self, frames):
        return (np.abs(frames).max(axis=1) > 0.1).astype(np.float32)


def test_the_letters_of_tones_are_heard_through_the_front_door():
    text, engine = "ask not what your country can do for you", FakeCTC()
    wave = spell(text, 2.0, 7.0)
    clips = cut(Clip(wave[None], "audio", 16_000.0, 10.0), [777, 30_000, 80_001])
    trace = TranscribeProgress()
    (whole,) = transcribe_stream(engine, clips, trace=trace)
    assert whole.text == text.upper() and trace.heard == 7.0 and trace.speech is None
    assert whole.start == pytest.approx(12.0) and whole.score == pytest.approx(0.9, rel=1e-3)
    heard = list(transcribe_stream(engine, clips, detector=Loud(), trace=trace))
    assert heard[0].text == whole.text and heard[0].words[0].start == pytest.approx(12.0, abs=0.02)
    assert 3 < trace.speech < 4


def test_with_a_detector_each_stretch_is_given_when_it_ends():
    engine = FakeCTC()
    wave = np.concatenate([spell("at once", 1.0, 5.0), spell("or never", 1.0, 5.0)])
    taken = 0

    def blocks() -> Iterator[Clip]:
        nonlocal taken
        for at in range(0, len(wave), 1600):
            taken += 1600
            yield Clip(wave[None, at : at + 1600], "audio", 16_000.0, at / 16_000)

    found = transcribe_stream(engine, blocks(), detector=Loud())
    assert next(found).text == "AT ONCE" and taken <= 3 * 16_000
    assert [segment.text for segment in found] == ["OR NEVER"]


@pytest.mark.parametrize("asked", [{"task": "translate"}, {"initial_prompt": "x"}, {"hotwords": "x"}])
def test_what_a_ctc_model_cannot_do_is_refused(asked):
    with pytest.raises(ValueError, match="CTC"):
        transcribe_stream(FakeCTC(), [], TranscribeOptions(**asked))


def test_of_a_damaged_recording_the_good_part_is_said():
    def broken() -> Iterator[Clip]:
        yield sound(spelled("no_|_w_"))
        raise TruncatedMedia("broken off")

    found = said_in(Scripted(), broken())
    assert next(found).text == "no w"
    with pytest.raises(TruncatedMedia):
        next(found)


def test_memory_is_four_bytes_a_frame_and_a_chunk():
    """Ten hours at fifty frames a second are 1.8 million frames, 7.2 MB."""
    frames, minute, engine = 300_000, 3000, Scripted()

    def stream() -> Iterator[Clip]:
        data = sound(spelled("_ab|") * (minute // 4)).data
        for at in range(0, frames, minute):
            yield Clip(data, "audio", engine.rate, at * engine.samples_per_frame / engine.rate, "s")

    tracemalloc.start()
    best = BestPath()
    for found in compute_emissions(engine, stream(), Chunking(10.0)):
        best.append(found)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(best.tokens) == frames - 1 and engine.longest <= 10_010
    assert kept < 4 * frames + 3e5 and peak < kept + 1e6  # and small objects, the last block, a chunk


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        (Clip(np.zeros((2, 10), np.float32), "audio", 1000), "one channel"),
        (Clip(np.zeros((1, 10), np.float32), "audio", 8000), "at 1000 Hz"),
    ],
)
def test_sound_of_another_form_is_refused(clip, said):
    with pytest.raises(ValueError, match=said):
        list(compute_emissions(Scripted(), [clip]))


@pytest.mark.parametrize(("length", "stride"), [(1.0, 0.5), (0.0, 0.0), (1.0, -0.1), (float("inf"), 1.0)])
def test_chunks_need_room(length, stride):
    with pytest.raises(ValueError, match="both strides"):
        Chunking(length, stride)


def test_a_network_that_gives_no_numbers_is_told_of():
    class Wrong(Scripted):
        def emissions(self, wave):
            return np.full((3, 8), np.nan, np.float32)

    class Short(Scripted):
        def emissions(self, wave):
            return super().emissions(wave)[:2]

    with pytest.raises(EncodeError, match="no finite number"):
        list(compute_emissions(Wrong(), [sound([1, 2, 3])]))
    with pytest.raises(EncodeError, match="expected 5 frames"):
        list(compute_emissions(Short(), [sound([1] * 50)], Chunking(0.05, 0)))
