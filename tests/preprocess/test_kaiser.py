"""Resampling as resampy 0.2.2 does it, against its own output and against its loop written out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openl3_recipe import loaded

from percepts.preprocess.kaiser import Resampler, resample


def test_it_gives_resampys_numbers(shared: Path) -> None:
    folder = shared / "openl3"
    meta = json.loads((folder / "inputs_audio.json").read_text())
    inputs, reference = loaded(folder / "inputs_audio.npz"), loaded(folder / "resampled_0.2.2.npz")
    for name in reference:
        audio = inputs[name].astype(np.float64)
        audio = audio.mean(1) if audio.ndim == 2 else audio
        ours = resample(audio, meta[name]["sr"], 48_000)
        # resampy's clock is a running sum: 3e-7 of a sample off after two seconds
        np.testing.assert_allclose(ours, reference[name], rtol=0, atol=3e-7, err_msg=name)


def written_out(samples: np.ndarray, old: float, new: float) -> np.ndarray:
    """Run Smith's algorithm, one output and one wing at a time, with an exact clock."""
    crossings, precision, rolloff = 64, 512, 0.9475937167399596
    points = crossings * precision
    table = rolloff * np.sinc(rolloff * np.linspace(0, crossings, points + 1))
    table *= np.kaiser(2 * points + 1, 14.769656459379492)[points:]
    ratio = new / old
    scale = min(1.0, ratio)
    table = table * scale
    delta = np.append(np.diff(table), 0.0)
    step = int(scale * precision)
    out = np.zeros(int(len(samples) * ratio))
    for index in range(len(out)):
        time = index * old / new
        n = int(time)
        for side, frac in ((-1, scale * (time - n)), (1, scale - scale * (time - n))):
            offset = int(frac * precision)
            eta = frac * precision - offset
            for k in range((len(table) - offset) // step):
                at = n - k if side < 0 else n + k + 1
                if 0 <= at < len(samples):
                    out[index] += samples[at] * (table[offset + k * step] + eta * delta[offset + k * step])
    return out


@pytest.mark.parametrize(("old", "new"), [(44_100, 48_000), (16_000, 48_000), (96_000, 48_000), (44_101, 48_000)])
def test_it_is_the_algorithm_written_out(old: float, new: float) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 300)
    np.testing.assert_allclose(resample(samples, old, new), written_out(samples, old, new), rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 900), max_size=6),
    st.sampled_from([(44_100, 48_000), (8_000, 48_000), (96_000, 48_000), (44_101, 48_000), (11_025.5, 48_000)]),
)
def test_however_the_stream_is_cut_the_same_comes_out(cuts: list[int], rates: tuple[float, float]) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, 1500)
    whole = resample(samples, *rates)
    stream, at, parts = Resampler(*rates), 0, []
    for cut in [*cuts, len(samples)]:
        parts.append(stream.push(samples[at : at + cut]))
        at += cut
    parts.append(stream.finish())
    # sums of 130 to 300 products in another order of blocks: float64 rounding
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-13)


@pytest.mark.parametrize("old", [8_000, 11_025, 22_050, 44_100, 88_200, 96_000, 192_000, 44_101, 16_000.5])
def test_lengths_are_resampys(old: float) -> None:
    for count in (7, 100, 1001):
        assert len(resample(np.zeros(count), old, 48_000)) == int(count * (48_000 / old))


def test_a_tone_stays_a_tone() -> None:
    at = np.arange(44_100) / 44_100
    ours = resample(np.sin(2 * np.pi * 1000 * at), 44_100, 48_000)
    expected = np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000)
    # 2e-4: the ripple of this filter, which is why resampy 0.3 changed it
    np.testing.assert_allclose(ours[500:-500], expected[500:-500], rtol=0, atol=2e-4)


def test_the_dtype_stays() -> None:
    assert resample(np.zeros(100, np.float32), 44_100, 48_000).dtype == np.float32


def test_nothing_out_and_impossible_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="1 samples are too few"):
        resample(np.zeros(1), 96_000, 48_000)
    for rates in ((0, 1), (1, -1), (float("nan"), 1), (1e9, 1.0)):
        with pytest.raises(ValueError, match="expected"):
            resample(np.zeros(9), *rates)
