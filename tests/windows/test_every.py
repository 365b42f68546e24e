from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from percepts.errors import TruncatedMedia
from percepts.types import Clip
from percepts.windows import sample_frames

settings.load_profile("ci")  # no deadlines: a loaded machine is no failure


def frame(number: int, start: float, rate: float) -> Clip:
    return Clip(np.full((1, 1, 1, 3), number, np.uint8), "video", rate, start)


def shown(clips: Iterator[Clip]) -> list[tuple[float, int]]:
    return [(clip.start, int(clip.data[0, 0, 0, 0])) for clip in clips]


ticks = st.lists(st.integers(0, 400), min_size=1, max_size=30, unique=True).map(sorted)


@given(ticks, st.sampled_from([1, 2, 7, 10, 24, 30, 60]))
def test_each_instant_shows_the_latest_frame_at_or_before_it(ticks, fps):
    clock = 30  # frames may stand at any thirtieth of a second: a film of variable rate
    frames = [frame(i, tick / clock, clock) for i, tick in enumerate(ticks)]
    end = Fraction(ticks[-1] + 1, clock)
    first = math.ceil(Fraction(ticks[0], clock) * fps)
    expected = [
        (k / fps, max(i for i, tick in enumerate(ticks) if Fraction(tick, clock) <= Fraction(k, fps)))
        for k in range(first, math.ceil(end * fps))
    ]
    assert shown(sample_frames(fps)(frames)) == expected


@given(st.integers(1, 60), st.lists(st.integers(0, 60), max_size=8), st.sampled_from([1, 3, 10, 24, 50]))
def test_frames_do_not_depend_on_how_the_film_was_cut(n, places, fps):
    data = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 1, 1, 3))
    edges = [0, *sorted(p % (n + 1) for p in places), n]
    blocks = [Clip(data[a:b], "video", 24, a / 24) for a, b in pairwise(edges)]
    assert shown(sample_frames(fps)(blocks)) == shown(sample_frames(fps)([Clip(data, "video", 24)]))


def test_instants_do_not_drift_in_three_hours():
    rate = 30_000 / 1001
    n = round(3 * 3600 * rate)
    blocks = (frame(i % 256, i / rate, rate) for i in range(0, n, 300))  # one frame in ten seconds, each held
    starts = [clip.start for clip in sample_frames(1.0)(blocks)]
    assert starts == [float(k) for k in range(len(starts))]
    assert 10_790 < len(starts) <= 10_800


def test_the_same_rate_gives_every_frame_once():
    film = Clip(np.zeros((240, 1, 1, 3), np.uint8), "video", 24, start=5.0)
    assert [clip.start for clip in sample_frames(24)([film])] == [k / 24 for k in range(120, 360)]


def test_a_film_that_breaks_off_shows_its_last_frame_first():
    def breaking() -> Iterator[Clip]:
        yield frame(1, 0.0, 1.0)
        yield frame(2, 1.0, 1.0)
        raise TruncatedMedia("2 s of 9 s")

    got = []
    with pytest.raises(TruncatedMedia):
        for clip in sample_frames(1.0)(breaking()):
            got.append(clip.start)
    assert got == [0.0, 1.0]


def test_no_frames_give_none():
    assert list(sample_frames(1.0)([])) == []


def test_frames_out_of_order_sound_and_senseless_rates_are_refused():
    with pytest.raises(ValueError, match="in order of time"):
        list(sample_frames(1.0)([frame(0, 5.0, 1.0), frame(1, 4.0, 1.0)]))
    with pytest.raises(ValueError, match="expected video"):
        list(sample_frames(1.0)([Clip(np.zeros((1, 5), np.float32), "audio", 10.0)]))
    with pytest.raises(ValueError, match="above 0"):
        sample_frames(0)
