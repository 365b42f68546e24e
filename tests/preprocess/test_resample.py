from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from percepts.errors import TruncatedMedia
from percepts.preprocess.resample import resample, resample_clip
from percepts.types import Clip
from percepts.windows import check_contiguous

settings.load_profile("ci")  # no deadlines: a loaded machine is no failure

rates = st.sampled_from([(44_100, 16_000), (48_000, 16_000), (8_000, 16_000), (22_050, 48_000), (192_000, 16_000)])


def sound(n: int, rate: int, channels: int = 1, start: float = 0.0) -> Clip:
    noise = np.random.default_rng(n).uniform(-1, 1, (channels, n)).astype(np.float32)
    return Clip(noise, "audio", rate, start, "s")


def cut(clip: Clip, places: list[int]) -> list[Clip]:
    edges = [0, *sorted(p % (clip.length + 1) for p in places), clip.length]
    parts = np.split(clip.data, edges[1:-1], axis=1)
    return [
        Clip(part, "audio", clip.rate, clip.start + at / clip.rate, clip.source)
        for part, at in zip(parts, edges[:-1], strict=True)
    ]


@given(rates, st.integers(1, 20_000), st.integers(1, 3), st.lists(st.integers(0, 20_000), max_size=8))
def test_the_output_does_not_depend_on_how_the_stream_was_cut(rates, n, channels, places):
    old, new = rates
    clip = sound(n, old, channels, start=7.5)
    whole = resample_clip(clip, new)
    blocks = list(check_contiguous(resample(cut(clip, places), new)))  # contiguous: on one clock, without gaps
    np.testing.assert_array_equal(np.concatenate([b.data for b in blocks], axis=1), whole.data)
    assert all(block.rate == new and block.source == "s" for block in blocks)
    assert blocks[0].start == whole.start == 7.5


@given(rates, st.integers(1, 20_000), st.integers(1, 2))
def test_the_output_is_that_of_resampling_all_at_once(rates, n, channels):
    old, new = rates
    clip = sound(n, old, channels)
    got = resample_clip(clip, new).data
    expected = soxr.resample(clip.data.T, old, new, quality="HQ").T
    assert got.shape[1] == max(1, expected.shape[1])
    assert abs(got.shape[1] - n * new / old) <= 1
    # The same arithmetic in blocks of the engine's own choosing: equal here; 1e-6 for other builds of its FFT.
    np.testing.assert_allclose(got[:, : expected.shape[1]], expected, rtol=0, atol=1e-6)


@given(rates, st.floats(0.05, 0.95))
def test_a_click_stays_where_it_was(rates, where):
    old, new = rates
    data = np.zeros((1, old // 2), np.float32)
    at = int(where * data.shape[1])
    data[0, at] = 1.0
    got = resample_clip(Clip(data, "audio", old), new)
    assert abs(int(np.abs(got.data).argmax()) / new - at / old) <= 0.5 / min(old, new) + 1e-9


def test_one_sample_gives_one_sample_and_none_gives_none():
    assert resample_clip(sound(1, 192_000), 16_000).length == 1
    assert resample_clip(sound(0, 192_000), 16_000).length == 0
    assert list(resample([], 16_000)) == []


def test_the_same_rate_passes_untouched():
    clip = sound(100, 16_000)
    assert next(resample([clip], 16_000)) is clip
    assert resample_clip(clip, 16_000) is clip


def test_what_came_before_a_break_is_resampled_and_then_the_break_is_told():
    def breaking() -> Iterator[Clip]:
        yield sound(44_100, 44_100)
        raise TruncatedMedia("1 s of 9 s")

    got = 0
    with pytest.raises(TruncatedMedia):
        for clip in resample(breaking(), 16_000):
            got += clip.length
    assert got == 16_000


def test_padding_is_left_out():
    padded = Clip(np.ones((1, 44_100), np.float32), "audio", 44_100, valid=4_410)
    assert resample_clip(padded, 16_000).length == 1_600


def test_pictures_gaps_and_senseless_rates_are_refused():
    with pytest.raises(ValueError, match="expected audio"):
        list(resample([Clip(np.zeros((1, 2, 2, 3), np.uint8), "image", 0.0)], 16_000))
    with pytest.raises(ValueError, match="start at"):
        list(resample([sound(100, 8_000), sound(100, 8_000, start=1.0)], 16_000))
    with pytest.raises(ValueError, match="above 0"):
        resample([], 0)
