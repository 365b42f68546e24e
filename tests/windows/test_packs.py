from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from percepts.types import Clip
from percepts.windows.packs import pack_speech
from percepts.windows.speech import Listener

RATE = 16_000


class Loud:
    """A detector for which everything but silence is speech."""

    frame = 512

    def listen(self, rate: float) -> Listener:
        return self

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return np.where(np.abs(frames).max(axis=1) > 0.01, 0.9, 0.1)


def talk(spans: list[tuple[float, float]], seconds: float) -> np.ndarray:
    sound = np.zeros(round(seconds * RATE), np.float32)
    for start, stop in spans:
        sound[round(start * RATE) : round(stop * RATE)] = (
            0.2
            * np.sin(np.arange(round((stop - start) * RATE)) / 8)[
                : len(sound[round(start * RATE) : round(stop * RATE)])
            ]
        )
    return sound


def blocks(sound: np.ndarray, size: int) -> list[Clip]:
    return [Clip(sound[None, i : i + size], "audio", RATE, 100 + i / RATE, "talk") for i in range(0, len(sound), size)]


SPANS = [(1.0, 5.0), (8.0, 14.0), (20.0, 27.5), (32.0, 40.0), (150.0, 175.0), (176.0, 180.0), (190.0, 260.0)]


@pytest.mark.parametrize("size", [1600, 123_457, 10**7])
def test_windows_hold_the_sound_as_it_was_and_are_as_full_as_they_can_be(size: int) -> None:
    sound = talk(SPANS, 270.0)
    found = list(pack_speech(blocks(sound, size), Loud()))
    for pack in found:
        start = round((pack.clip.start - 100) * RATE)
        assert np.array_equal(pack.clip.data[0], sound[start : start + pack.clip.length]) and pack.clip.duration <= 30
        assert pack.spoken[0][0] == pack.clip.start and pack.spoken[-1][1] == pytest.approx(pack.clip.stop)
    for a, b in pairwise(found):
        assert b.spoken[0][1] - a.clip.start > 30 and a.clip.stop <= b.clip.start + 1e-6
    covered = np.zeros(len(sound), bool)
    for pack in found:
        covered[round((pack.clip.start - 100) * RATE) :][: pack.clip.length] = True
    for start, stop in SPANS[:-1]:
        assert covered[round(start * RATE) : round(stop * RATE)].mean() > 0.95
    assert [round(pack.clip.start - 100) for pack in found][:3] == [1, 32, 150]


def test_memory_does_not_grow_in_hours_of_silence_after_a_word() -> None:
    import tracemalloc

    def stream(minutes: int) -> object:
        for i in range(minutes * 6):
            data = np.zeros((1, 10 * RATE), np.float32)
            if i == 0:
                data[0] = talk([(1, 2)], 10.0)
            yield Clip(data, "audio", RATE, 10.0 * i)

    peaks = []
    for minutes in (4, 12):
        tracemalloc.start()
        assert len(list(pack_speech(stream(minutes), Loud()))) == 1  # type: ignore[arg-type]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_silence_gives_nothing_and_a_window_too_short_is_refused() -> None:
    assert list(pack_speech(blocks(np.zeros(RATE, np.float32), RATE), Loud())) == []
    with pytest.raises(ValueError, match="longer than both pads"):
        list(pack_speech([], Loud(), window=0.5))
