from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from percepts.preprocess.mel import MelOptions, log_mel, mel_filters, mel_spectrogram, whisper_log_mel

settings.load_profile("ci")  # no deadlines: a loaded machine is no failure

RATE = 16_000


def noise(n: int, seed: int = 0) -> np.ndarray:
    """Return noise that swells, so that there are loud and quiet frames."""
    return (np.random.default_rng(seed).standard_normal(n) * np.linspace(0.001, 0.3, n)).astype(np.float32)


def plain(samples: np.ndarray, rate: int, n_fft: int, hop: int, n_mels: int) -> np.ndarray:
    """Compute the definition in float64, frame by frame: that of librosa.feature.melspectrogram with its defaults."""
    padded = np.pad(samples.astype(np.float64), n_fft // 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    starts = range(0, len(padded) - n_fft + 1, hop)
    power = [np.abs(np.fft.rfft(padded[i : i + n_fft] * window)) ** 2 for i in starts]
    return mel_filters(rate, n_fft, n_mels) @ np.array(power).T


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", None])
@pytest.mark.parametrize(("rate", "n_fft", "n_mels", "low", "high"), [
    (16_000, 400, 80, 0.0, 8_000.0), (22_050, 2048, 128, 20.0, None), (48_000, 2048, 256, 0.0, None),
])  # fmt: skip
def test_filters_are_those_of_transformers(scale, norm, rate, n_fft, n_mels, low, high):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that bands narrower than a bin are empty
        expected = mel_filter_bank(1 + n_fft // 2, n_mels, low, high or rate / 2, rate, norm, scale).T
    got = mel_filters(rate, n_fft, n_mels, low=low, high=high, scale=scale, norm=norm)
    # Both in float64, with the edges reached by different roundings.
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * expected.max())


@pytest.mark.parametrize(("rate", "n_fft", "hop", "n_mels"), [(16_000, 400, 160, 40), (22_050, 2048, 512, 128)])
def test_the_mel_spectrogram_is_its_definition(rate, n_fft, hop, n_mels):
    samples = noise(rate)
    expected = plain(samples, rate, n_fft, hop, n_mels)
    got = mel_spectrogram(samples, rate, MelOptions(n_fft=n_fft, hop=hop, n_mels=n_mels))
    assert got.dtype == np.float32
    # float32 transforms against float64: errors of a few 1e-7 of the strongest bin leak into the weak ones.
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6 * expected.max())
    decibels = log_mel(samples, rate, MelOptions(n_fft=n_fft, hop=hop, n_mels=n_mels), log="db")
    np.testing.assert_allclose(decibels, 10 * np.log10(np.maximum(expected, 1e-10)), atol=0.01)


def test_a_tone_lands_in_its_band_and_its_time():
    samples = np.zeros(RATE, np.float32)
    samples[8_000:8_800] = np.sin(2 * np.pi * 1000 * np.arange(800) / RATE)
    got = mel_spectrogram(samples, RATE, MelOptions(n_fft=400, hop=160, n_mels=40))
    band, frame = np.unravel_index(got.argmax(), got.shape)
    assert abs(frame * 160 - 8_400) <= 400
    assert mel_filters(RATE, 400, 40)[:, round(1000 / 40)].argmax() == band


@given(st.integers(1, 3_000), st.booleans(), st.sampled_from(["zero", "reflect"]))
def test_the_number_of_frames_is_what_the_docstring_says(n, center, pad):
    got = log_mel(noise(n), RATE, MelOptions(n_fft=400, hop=160, n_mels=8, center=center, pad=pad))
    assert got.shape == (8, 1 + n // 160 if center else 1 + max(n - 400, 0) // 160)
    assert np.isfinite(got).all()


def test_a_row_does_not_depend_on_its_batch():
    batch = np.stack([noise(20_000, seed) for seed in range(5)])
    for function in (lambda x: log_mel(x, RATE, MelOptions(n_fft=400, hop=160, n_mels=40)), whisper_log_mel):
        together = function(batch)
        for row, alone in zip(together, batch, strict=True):
            np.testing.assert_array_equal(row, function(alone))  # to the bit: the arithmetic is row by row


def test_silence_is_the_floor():
    np.testing.assert_allclose(log_mel(np.zeros(1000, np.float32), RATE), -10, atol=1e-6)  # of float32's 1e-10
    np.testing.assert_allclose(whisper_log_mel(np.zeros(1000, np.float32)), -1.5, atol=1e-6)


@pytest.mark.parametrize(("n_mels", "n"), [
    (80, 1), (80, 160), (80, 401), (80, 80_000), (80, 479_601), (80, 479_801), (80, 480_000), (128, 480_000),
])  # fmt: skip
def test_whisper_s_features_are_those_of_transformers(n_mels, n):
    samples = noise(n)
    extractor = WhisperFeatureExtractor(feature_size=n_mels)
    expected = extractor(samples, sampling_rate=RATE, return_tensors="np")["input_features"][0]
    got = whisper_log_mel(samples, n_mels)
    # Two float32 transforms; the weakest bands, 80 dB below the loudest, carry the largest error (1.1e-5 measured on
    # a scale where 10 dB are 0.25).
    np.testing.assert_allclose(got, expected, rtol=0, atol=5e-5)


def test_whisper_s_features_of_a_part_are_those_of_the_part_filled_with_zeros():
    samples = noise(50_000)
    filled = np.pad(samples, (0, 480_000 - 50_000))
    # The frames of zeros were never computed. In the others, a matrix product of fewer columns may round the last bit
    # of its sums otherwise.
    np.testing.assert_allclose(whisper_log_mel(samples), whisper_log_mel(filled), rtol=0, atol=1e-6)


def test_whisper_takes_any_length_when_told_and_no_longer_sound_in_silence():
    assert whisper_log_mel(noise(16_000), seconds=None).shape == (80, 100)
    assert whisper_log_mel(noise(16_000), seconds=5).shape == (80, 500)
    with pytest.raises(ValueError, match=r"windows\.cut_fixed_windows\(30\)"):
        whisper_log_mel(noise(480_001))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: log_mel(np.zeros(1000, np.int16), RATE),
        lambda: log_mel(np.zeros(0, np.float32), RATE),
        lambda: log_mel(np.zeros((1, 2, 100), np.float32), RATE),
        lambda: log_mel(noise(1000), RATE, log="log3"),
        lambda: log_mel(noise(1000), RATE, MelOptions(pad="mirror")),
        lambda: log_mel(noise(1000), RATE, MelOptions(hop=0)),
        lambda: log_mel(noise(1000), RATE, MelOptions(high=9_000.0)),
        lambda: mel_filters(RATE, 400, 80, scale="mel"),
        lambda: whisper_log_mel(noise(100), seconds=None),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(wrong):
    with pytest.raises(ValueError, match="expected"):
        wrong()
