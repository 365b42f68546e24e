"""A stream transcribed as it comes: the words of the whole, once each, in bounded memory, whatever the model does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from percepts.speech.streaming.online import StreamingConfig, StreamingTranscriber
from percepts.types import Clip, Segment

RATE = 100
SAID = [Segment(0.7 * i + 0.1, 0.7 * i + 0.6, f" w{i}") for i in range(120)]  # 84 s, a sentence every five words


class Scripted:
    """Hears the words that lie in the clip, the last one cut short if the clip cuts it; keeps what it was asked."""

    def __init__(self, wobbly: bool = False, sentences: int = 5) -> None:
        self.wobbly, self.sentences = wobbly, sentences
        self.asked: list[tuple[float, float, str]] = []

    def __call__(self, clip: Clip, prompt: str) -> Sequence[Segment]:
        self.asked.append((clip.start, clip.stop, prompt))
        heard = []
        for i, word in enumerate(SAID):
            if word.start < clip.start - 1e-6 or word.start + 0.2 > clip.stop:
                continue
            text = word.text if word.stop <= clip.stop else word.text[:-1] + "-"
            text = f"{text}?{len(self.asked)}" if self.wobbly else text
            heard.append((i // self.sentences, Segment(word.start, min(word.stop, clip.stop), text)))
        groups = dict.fromkeys(number for number, _ in heard)
        parts = [tuple(word for number, word in heard if number == group) for group in groups]
        return [Segment(part[0].start, part[-1].stop, "".join(w.text for w in part), part) for part in parts]


def blocks(seconds: float, block: float = 0.5, start: float = 0.0) -> list[Clip]:
    total = round(seconds * RATE)
    step = round(block * RATE)
    sizes = [min(step, total - at) for at in range(0, total, step)]
    return [
        Clip(np.zeros((1, size), np.float32), "audio", RATE, start + i * step / RATE) for i, size in enumerate(sizes)
    ]


def run(online: StreamingTranscriber, stream: Sequence[Clip]) -> tuple[list[Segment], float, float]:
    committed, lost, longest = [], 0.0, 0.0
    for block in stream:
        update = online.push(block)
        longest = max(longest, online.seconds)
        if update:
            committed += update.committed
            lost += update.lost
    update = online.finish()
    return [*committed, *update.committed], lost + update.lost, longest


def texts(found: Sequence[Segment]) -> str:
    return "".join(word.text for word in found)


@given(st.sampled_from([0.1, 0.37, 1.0, 4.0]), st.sampled_from([0.3, 1.0, 2.5]), st.integers(2, 3))
def test_every_word_is_committed_once_with_its_time(block, chunk, passes):
    committed, lost, longest = run(
        StreamingTranscriber(Scripted(), StreamingConfig(chunk, passes=passes)), blocks(84.0, block)
    )
    assert texts(committed) == texts(SAID) and lost == 0
    assert [word.start for word in committed] == [word.start for word in SAID]
    assert longest <= 28 + chunk + block


def test_sound_is_cut_after_a_committed_segment_and_its_text_is_the_prompt():
    model = Scripted()
    run(StreamingTranscriber(model), blocks(60.0))
    starts = sorted({start for start, _, _ in model.asked})
    assert len(starts) > 2 and all(any(abs(start - word.stop) < 0.011 for word in SAID[4::5]) for start in starts[1:])
    _, _, prompt = model.asked[-1]
    last = max(i for i, word in enumerate(SAID) if word.stop <= starts[-1] + 0.01)
    assert prompt.split()[-1] == f"w{last}"
    # whole words up to the one that passes 200 characters, as whisper_streaming counts them
    assert 200 - 1 <= len(prompt) < 200 + len("w100") + 1


def test_a_model_that_never_cuts_a_segment_is_bounded():
    model = Scripted(sentences=1000)
    committed, lost, longest = run(StreamingTranscriber(model), blocks(84.0))
    assert texts(committed) == texts(SAID) and lost == 0
    assert longest <= 28 + 1.0 + 0.5


def test_a_model_that_never_agrees_with_itself_is_bounded_and_what_it_says_is_forced():
    committed, lost, longest = run(StreamingTranscriber(Scripted(wobbly=True)), blocks(84.0))
    assert longest <= 28 + 1.0 + 0.5 and lost == 0
    assert [word.text.partition("?")[0] for word in committed] == [word.text for word in SAID]


def test_sound_in_which_nothing_is_heard_is_dropped_and_said_to_be():
    online = StreamingTranscriber(lambda clip, prompt: [])
    committed, lost, longest = run(online, blocks(84.0))
    assert committed == [] and lost > 40 and longest <= 29.5


def test_partial_words_are_those_after_the_committed_ones():
    online, said = StreamingTranscriber(Scripted()), []
    for block in blocks(20.0, 1.0):
        update = online.push(block)
        said += update.committed
        assert texts([*said, *update.partial]).startswith(texts(SAID[: len(said)]))


def test_a_stream_goes_on_elsewhere_after_its_end():
    online = StreamingTranscriber(Scripted())
    first, _, _ = run(online, blocks(7.0))
    second, _, _ = run(online, blocks(7.0, start=42.0))
    assert texts(first) == texts(SAID[:10])
    assert texts(second) == texts(SAID[60:70])


def test_the_end_without_sound_says_nothing():
    assert StreamingTranscriber(Scripted()).finish().committed == ()


def test_blocks_that_do_not_follow_are_refused():
    online = StreamingTranscriber(Scripted())
    online.push(blocks(1.0)[0])
    with pytest.raises(ValueError, match="next block at"):
        online.push(blocks(1.0, start=9.0)[0])
    with pytest.raises(ValueError, match="one channel"):
        online.push(Clip(np.zeros((2, 5), np.float32), "audio", RATE))
    with pytest.raises(ValueError, match="trim_s <= max_buffer_s"):
        StreamingConfig(trim_s=40)
