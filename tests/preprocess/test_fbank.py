from __future__ import annotations

import warnings

import numpy as np
import pytest
from transformers import ASTFeatureExtractor

from percepts.preprocess.fbank import AST_MEAN, AST_STD, FbankOptions, ast_features, kaldi_fbank

RATE = 16_000


def signal(name: str, n: int) -> np.ndarray:
    random = np.random.default_rng(n).standard_normal(n)
    signals = {
        "noise": 0.1 * random,
        "swelling": random * np.linspace(0, 1, n) ** 4,
        "tone": np.sin(0.3 * np.arange(n)),
        "offset": 0.5 + 0.001 * random,
        "silence": 0 * random,
    }
    return signals[name].astype(np.float32)


# Float32 here; transformers frames in float64. Where a band is 120 dB below a tone or an offset, the rounding of the
# strong part is what is left in it: up to 1.2e-3 of a scale on which 10 dB are 0.25, and the mean error 40 times less.
TOLERANCE = {"noise": 2e-4, "swelling": 2e-4, "tone": 2e-3, "offset": 5e-3, "silence": 1e-6}


@pytest.fixture(scope="module")
def extractor() -> ASTFeatureExtractor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that bands narrower than a bin are empty
        return ASTFeatureExtractor()


@pytest.mark.parametrize("name", TOLERANCE)
@pytest.mark.parametrize("n", [400, 559, 560, 44_000, 163_840])
def test_ast_s_features_are_those_of_transformers(extractor, name, n):
    samples = signal(name, n)
    expected = extractor(samples, sampling_rate=RATE, return_tensors="np")["input_values"][0]
    values, mask = ast_features(samples)
    assert values.shape == (1, 1024, 128) and values.dtype == np.float32
    assert mask.sum() == 1 + (n - 400) // 160
    np.testing.assert_allclose(values[0], expected, rtol=0, atol=TOLERANCE[name])


@pytest.mark.parametrize("window", ["hanning", "povey", "hamming"])
def test_filter_banks_are_their_definition(window):
    """In float64, frame by frame, in Kaldi's order: mean, pre-emphasis, window, power, triangles, logarithm."""
    samples, rate, n_mels = signal("noise", 4_000), 8_000, 23
    taper = {"hanning": np.hanning(200), "povey": np.hanning(200) ** 0.85, "hamming": np.hamming(200)}[window]
    mel = 1127 * np.log(1 + np.linspace(0, 4_000, 129) / 700)
    edges = np.linspace(1127 * np.log(1 + 20 / 700), mel[-1], n_mels + 2)
    bank = [np.interp(mel, edges[i : i + 3], [0, 1, 0]) for i in range(n_mels)]
    frames = []
    for start in range(0, 4_000 - 200 + 1, 80):
        frame = samples[start : start + 200].astype(np.float64)
        frame -= frame.mean()
        frame -= 0.97 * np.concatenate([frame[:1], frame[:-1]])
        frames.append(bank @ np.abs(np.fft.rfft(frame * taper, 256)) ** 2)
    got = kaldi_fbank(samples, rate, FbankOptions(n_mels=n_mels, window=window))
    np.testing.assert_allclose(got, np.log(np.maximum(frames, np.finfo(np.float32).eps)), rtol=0, atol=1e-4)


def test_a_row_does_not_depend_on_its_batch_nor_on_what_pads_it():
    batch = np.stack([signal("noise", 20_000) * k for k in (1, 0.5, 0.1)])
    valid = [20_000, 10_000, 300]
    values, mask = ast_features(batch, valid)
    for row, count, value, ours in zip(batch, valid, values, mask, strict=True):
        alone, alone_mask = ast_features(row[:count])
        np.testing.assert_array_equal(value, alone[0])  # to the bit: the arithmetic is row by row
        np.testing.assert_array_equal(ours, alone_mask[0])
    np.testing.assert_array_equal(kaldi_fbank(batch)[1], kaldi_fbank(batch[1]))


@pytest.mark.parametrize(("pad", "level"), [("zero", 0.467), ("floor", -1.278)])
def test_padding_is_what_was_asked_for(pad, level):
    values, mask = ast_features(signal("noise", 8_000), pad=pad)
    np.testing.assert_allclose(values[~mask], level, atol=1e-3)
    silence, _ = ast_features(signal("silence", 8_000), pad=pad)
    np.testing.assert_allclose(silence[mask], -1.278, atol=1e-3)


def test_sound_shorter_than_a_frame_makes_one_and_no_sound_makes_none():
    values, mask = ast_features(signal("noise", 300), [1])
    assert mask.sum() == 1 and np.isfinite(values).all()
    assert ast_features(signal("noise", 300), [0])[1].sum() == 0
    assert kaldi_fbank(signal("noise", 1)).shape == (1, 128)


def test_the_scale_is_that_of_the_checkpoint():
    plain = kaldi_fbank(signal("noise", 8_000))
    values, mask = ast_features(signal("noise", 8_000), mean=0.0, std=0.5)
    np.testing.assert_array_equal(values[mask], plain)
    scaled = ast_features(signal("noise", 8_000))[0][mask]
    np.testing.assert_allclose(scaled, (plain - AST_MEAN) / (2 * AST_STD), atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ast_features(signal("noise", 170_000)),
        lambda: ast_features(signal("noise", 1_000), [1_001]),
        lambda: ast_features(signal("noise", 1_000), [1, 2]),
        lambda: ast_features(signal("noise", 1_000), pad="mean"),
        lambda: kaldi_fbank(np.zeros(1_000, np.int16)),
        lambda: kaldi_fbank(signal("noise", 1_000), options=FbankOptions(window="hann")),
        lambda: kaldi_fbank(signal("noise", 1_000), options=FbankOptions(hop=0.0)),
        lambda: kaldi_fbank(signal("noise", 1_000), options=FbankOptions(low=9_000.0)),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(wrong):
    with pytest.raises(ValueError, match="expected"):
        wrong()
