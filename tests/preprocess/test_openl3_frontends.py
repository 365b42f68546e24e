"""OpenL3's spectrograms against openl3 0.4.2's own, and against formulas written out plainly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from openl3_recipe import loaded

from percepts.preprocess.mel import mel_filters
from percepts.preprocess.openl3 import FRAMES, FRONTENDS, WINDOW, spectrogram

REPRS = ("linear", "mel128", "mel256")
NOISES = ("noise_48k", "noise_quiet_48k", "stereo_48k", "short_center")
STILL = ("silence", "one_sample", "clicks")


def first_window(folder: Path, name: str) -> np.ndarray:
    """Return the input of openl3's frontend for the first window of that case: (1, 48000) float64."""
    meta = json.loads((folder / "inputs_audio.json").read_text())[name]
    resampled = loaded(folder / "resampled_0.2.2.npz")
    audio = resampled[name] if name in resampled else loaded(folder / "inputs_audio.npz")[name].astype(np.float64)
    audio = audio.mean(1) if audio.ndim == 2 else audio
    audio = np.concatenate([np.zeros(24_000 * meta["center"]), audio])[:WINDOW]
    return np.pad(audio, (0, WINDOW - len(audio)))[None]


def names(folder: Path) -> list[str]:
    return list(json.loads((folder / "inputs_audio.json").read_text()))


@pytest.mark.parametrize("input_repr", REPRS)
def test_librosas_spectrogram_is_openl3s_to_float32(shared: Path, input_repr: str) -> None:
    folder = shared / "openl3"
    reference = loaded(folder / f"ref_audio_{input_repr}_512_librosa.npz")
    for name in names(folder):
        ours = spectrogram(first_window(folder, name), input_repr, "librosa")[0]
        # computed in float64 by both; one unit in the last place of float32 at 80 is 7.6e-6
        np.testing.assert_allclose(ours, reference[f"spec/{name}"], rtol=0, atol=1.6e-5, err_msg=name)


@pytest.mark.parametrize("input_repr", REPRS)
def test_kapres_spectrogram_is_openl3s_as_far_as_float32_goes(shared: Path, input_repr: str) -> None:
    folder = shared / "openl3"
    reference = loaded(folder / f"ref_audio_{input_repr}_512_kapre.npz")
    for name in names(folder):
        off = np.abs(spectrogram(first_window(folder, name), input_repr, "kapre")[0] - reference[f"spec/{name}"])
        if name in NOISES:
            assert np.quantile(off, 0.99) < 2e-5, name
            assert off.max() < 5e-3, name  # a bin of noise that happens to be near zero
        elif name in STILL:
            assert off.max() < 3e-5, name
        else:
            # 80 of these "dB" are 160 true ones, beneath float32: quiet bins beside a tone hold the rounding noise of
            # the transform, here as in TensorFlow (its own layer is as far from a float64 one: mean 0.17, max 9.1)
            assert off.mean() < 0.6, name
            assert off.max() < 12, name


def plainly(window: np.ndarray, input_repr: str, frontend: str) -> np.ndarray:
    """Compute the definition, a frame at a time, in float64."""
    n_fft = 512 if input_repr == "linear" else 2048
    left = {"kapre": 0, "librosa": 1024, "trained": 982}[frontend] if n_fft == 2048 else 0
    padded = np.concatenate([np.zeros(left), window, np.zeros(4096)])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    starts = range(0, 242 * (197 if n_fft == 512 else 199), 242)
    amplitude = np.stack([np.abs(np.fft.rfft(padded[at : at + n_fft] * hann)) for at in starts], axis=1)
    if n_fft == 2048:
        bands = int(input_repr[3:])
        if frontend == "trained":
            amplitude = np.sqrt(mel_filters(48_000, n_fft, bands, scale="htk") @ amplitude**2)
        else:
            amplitude = mel_filters(48_000, n_fft, bands) @ amplitude
    level = 10 * np.log10(np.maximum(amplitude, 1e-10))
    return np.maximum(level - level.max(), -80)


@pytest.mark.parametrize("frontend", FRONTENDS)
@pytest.mark.parametrize("input_repr", REPRS)
def test_a_spectrogram_is_what_its_definition_says(input_repr: str, frontend: str) -> None:
    window = np.random.default_rng(0).uniform(-0.5, 0.5, WINDOW)
    expected = plainly(window, input_repr, frontend)
    ours = spectrogram(window[None], input_repr, frontend)[0]
    assert ours.shape == expected.shape
    assert ours.dtype == np.float32
    # kapre and trained work in float32: a bin of noise near zero loses some digits
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5 if frontend == "librosa" else 5e-3)
    assert np.quantile(np.abs(ours - expected), 0.99) < 2e-5


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_a_window_does_not_depend_on_its_batch(frontend: str) -> None:
    windows = np.random.default_rng(1).uniform(-1, 1, (3, WINDOW)).astype(np.float32)
    together = spectrogram(windows, "mel128", frontend)
    for index in range(3):
        np.testing.assert_array_equal(spectrogram(windows[index : index + 1], "mel128", frontend)[0], together[index])


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_loudness_does_not_matter_and_silence_is_zero(frontend: str) -> None:
    window = np.random.default_rng(2).uniform(-1, 1, (1, WINDOW))
    loud, quiet = (spectrogram(window * gain, "mel256", frontend) for gain in (1.0, 2.0**-10))
    np.testing.assert_allclose(loud, quiet, rtol=0, atol=2e-5)
    assert not spectrogram(window * 0, "mel256", frontend).any()
    assert loud.max() == 0
    assert loud.min() >= -80


def test_the_trained_frontend_has_empty_bands_at_the_floor() -> None:
    """HTK's lowest triangles are narrower than a bin at 256 bands; the network was trained with them so."""
    empty = ~mel_filters(48_000, 2048, 256, scale="htk").any(axis=1)
    assert empty.any()
    window = np.random.default_rng(3).uniform(-1, 1, (1, WINDOW)).astype(np.float32)
    assert (spectrogram(window, "mel256", "trained")[0, empty] == -80).all()


@pytest.mark.parametrize(
    "windows", [np.zeros((1, 47_999), "f"), np.zeros(48_000, "f"), np.zeros((1, 48_000), np.int16)]
)
def test_other_windows_are_refused(windows: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        spectrogram(windows, "mel256")


def test_other_names_are_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="kapre, librosa, trained"):
        spectrogram(np.zeros((1, WINDOW), "f"), "mel256", "essentia")
    assert len(FRAMES) == 9
