"""Sound in hub checkpoints: equal to transformers' extractors and models, at every length, with true times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import transformers

from percepts.encoders import model_spec
from percepts.encoders.pooling import pool
from percepts.errors import WeightsError
from percepts.types import Clip, Encoder
from percepts.windows import cut_fixed_windows

pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter")  # of transformers, at its own defaults
Make = Callable[..., Path]
CLOSE = 2e-5
"""States of about 1. Ours and theirs get features up to 3e-5 apart (float32 spectra against float64 ones), the rest is
summing order."""

DECIBELS = 0.05
"""From -100 to 50. Bands 140 dB under a pure tone hold the rounding of a float32 spectrum; theirs is float64."""

SPEECH = [("Wav2Vec2", "group"), ("Wav2Vec2", "layer"), ("Hubert", "group"), ("WavLM", "group")]
ALL = [("whisper",), ("ast",), ("clap", False), ("clap", True), *(("wav2vec2", *row) for row in SPEECH)]


def clips(rate: float, sounds: list[np.ndarray] | None = None) -> list[Clip]:
    return [Clip(sound[None], "audio", rate) for sound in sounds or tiny.sounds()]


def prepared(encoder: Encoder) -> Any:
    return encoder.prepare(clips(encoder.spec.rate))


def test_whisper_equals_transformers_encoder(tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint("whisper")
    encoder = tiny.load(str(folder))
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    model = transformers.WhisperModel.from_pretrained(folder).eval().encoder
    features = extractor(tiny.sounds(), sampling_rate=16_000, return_tensors="pt").input_features
    with torch.inference_mode():
        expected = model(features).last_hidden_state.numpy()
    np.testing.assert_allclose(encoder.tokens(prepared(encoder)).data, expected, atol=CLOSE, rtol=0)


def test_whisper_is_cut_to_the_true_length_at_50_steps_a_second(tiny_checkpoint: Make) -> None:
    encoder = tiny.load(str(tiny_checkpoint("whisper")))
    frames = encoder.tokens(prepared(encoder))
    assert frames.step == 0.02
    assert frames.mask.sum(axis=1).tolist() == [-(-len(sound) // 320) for sound in tiny.sounds()]


def test_a_shorter_window_of_whisper_changes_both_sides(tiny_checkpoint: Make) -> None:
    # Trap 11: WhisperFeatureExtractor(chunk_length=1) alone fails in the model, which expects 2 s.
    folder = tiny_checkpoint("whisper")
    features = transformers.WhisperFeatureExtractor.from_pretrained(folder, chunk_length=1)(
        tiny.sounds()[3], sampling_rate=16_000, return_tensors="pt"
    )
    model = transformers.WhisperModel.from_pretrained(folder).eval().encoder
    with pytest.raises(ValueError, match="expects the mel input features to be of length 200"):
        model(features.input_features)
    encoder = tiny.load(replace(model_spec(str(folder)), window=1.0))
    ours = encoder.tokens(encoder.prepare(clips(16_000, tiny.sounds()[3:4])))
    assert ours.data.shape == (1, 50, 32)
    model.config.max_source_positions = 50
    model.embed_positions = torch.nn.Embedding.from_pretrained(model.embed_positions.weight[:50])
    with torch.inference_mode():
        expected = model(features.input_features).last_hidden_state.numpy()
    np.testing.assert_allclose(ours.data, expected, atol=CLOSE, rtol=0)


def test_a_longer_window_than_whisper_was_trained_on_is_refused(tiny_checkpoint: Make) -> None:
    encoder = tiny.load(replace(model_spec(str(tiny_checkpoint("whisper"))), window=3.0))
    with pytest.raises(ValueError, match="a window of at most 2 s, got 3"):
        prepared(encoder)


def test_ast_equals_transformers(tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint("ast")
    encoder = tiny.load(str(folder))
    sounds = [sound for sound in tiny.sounds() if len(sound) >= 400]  # theirs fails below one frame: trap 13
    extractor = transformers.ASTFeatureExtractor.from_pretrained(folder)
    model = transformers.ASTModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        found = model(extractor(sounds, sampling_rate=16_000, return_tensors="pt").input_values)
    inputs = encoder.prepare(clips(16_000, sounds))
    np.testing.assert_allclose(encoder.tokens(inputs).data, found.last_hidden_state.numpy(), atol=CLOSE, rtol=0)
    # Trap 19: what the documentation calls CLS, linear and tanh is the mean of two tokens.
    np.testing.assert_allclose(pool(encoder.encode(inputs), "cls"), found.pooler_output.numpy(), atol=CLOSE, rtol=0)


def test_ast_marks_the_patches_that_hold_sound(tiny_checkpoint: Make) -> None:
    # Trap 18: transformers is asked for a mask and gives none.
    folder = tiny_checkpoint("ast")
    extractor = transformers.ASTFeatureExtractor.from_pretrained(folder, return_attention_mask=True)
    assert list(extractor(tiny.sounds()[0], sampling_rate=16_000)) == ["input_values"]
    encoder = tiny.load(str(folder))
    frames = encoder.tokens(encoder.prepare(clips(16_000, tiny.sounds()[3:4])))  # half a second: 48 spectra
    bands, times = encoder.grid.shape
    heard = frames.mask[0, 2:].reshape(bands, times)
    assert heard[:, :5].all() and not heard[:, 5:].any()
    assert encoder.grid.step == 0.1


@pytest.mark.parametrize(("window", "times"), [(1.0, 9), (4.0, 39)])
def test_another_window_of_ast_fits_the_positions_as_its_authors_do(
    window: float, times: int, tiny_checkpoint: Make
) -> None:
    # Trap 11: transformers' extractor at another max_length makes the model fail on its positions.
    folder = tiny_checkpoint("ast")
    model = transformers.ASTModel.from_pretrained(folder).eval()
    extractor = transformers.ASTFeatureExtractor.from_pretrained(folder, max_length=round(window * 100))
    features = extractor(tiny.sounds()[3], sampling_rate=16_000, return_tensors="pt").input_values
    with pytest.raises(RuntimeError, match="must match the size"), torch.inference_mode():
        model(features)
    encoder = tiny.load(replace(model_spec(str(folder)), window=window))
    assert encoder.grid.shape == (12, times)
    ours = encoder.tokens(encoder.prepare(clips(16_000, tiny.sounds()[3:4])))
    old = model.embeddings.position_embeddings.data  # (1, 2 + 12 * 19, D)
    grid = old[:, 2:].transpose(1, 2).reshape(1, 32, 12, 19)
    if times < 19:  # ast_models.py: the middle
        grid = grid[:, :, :, 9 - times // 2 : 9 - times // 2 + times]
    else:
        grid = torch.nn.functional.interpolate(grid, size=(12, times), mode="bilinear")
    new = torch.cat([old[:, :2], grid.reshape(1, 32, 12 * times).transpose(1, 2)], dim=1)
    model.embeddings.position_embeddings = torch.nn.Parameter(new)
    with torch.inference_mode():
        expected = model(features).last_hidden_state.numpy()
    np.testing.assert_allclose(ours.data, expected, atol=CLOSE, rtol=0)


@pytest.mark.parametrize(("name", "field"), [("ast", "num_mel_bins"), ("whisper", "feature_size")])
def test_mels_that_the_network_does_not_take_are_an_error(
    name: str, field: str, tiny_checkpoint: Make, tmp_path: Path
) -> None:
    # Trap 11: 128 mels into a network of 80 is an error of shapes, deep in a convolution.
    folder = tiny_checkpoint(name)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = tmp_path / "preprocessor_config.json"
    was = 128 if name == "ast" else 80
    settings.write_text(settings.read_text().replace(f'"{field}": {was}', f'"{field}": 64'))
    with pytest.raises(WeightsError, match=f"the number of mels is 64 in .* and {was} in config.json"):
        model_spec(str(tmp_path))


@pytest.mark.parametrize(("kind", "norm"), SPEECH)
def test_speech_models_equal_transformers_on_each_sound_alone(kind: str, norm: str, tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint("wav2vec2", kind, norm)
    encoder = tiny.load(str(folder))
    sounds = [sound for sound in tiny.sounds() if len(sound) >= 400]
    frames = encoder.tokens(encoder.prepare(clips(16_000, sounds)))
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)
    model = getattr(transformers, f"{kind}Model").from_pretrained(folder).eval()
    for sound, data, mask in zip(sounds, frames.data, frames.mask, strict=True):
        with torch.inference_mode():
            values = extractor(sound, sampling_rate=16_000, return_tensors="pt").input_values
            expected = model(values).last_hidden_state[0].numpy()
        assert mask.sum() == len(expected)
        np.testing.assert_allclose(data[mask], expected, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("fused", [False, True])
def test_clap_equals_transformers(fused: bool, tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint("clap", fused)
    encoder = tiny.load(str(folder))
    extractor = transformers.ClapFeatureExtractor.from_pretrained(folder)
    model = transformers.ClapModel.from_pretrained(folder).eval()
    features = torch.tensor(
        np.stack([extractor(s, sampling_rate=48_000)["input_features"][0] for s in tiny.sounds()]), dtype=torch.float32
    )
    inputs = prepared(encoder)
    np.testing.assert_allclose(inputs["mel"], features.numpy(), atol=DECIBELS, rtol=0)
    texts = ["sound of rain", "a dog"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        found = model.get_audio_features(features, is_longer=torch.zeros(len(features), 1, dtype=torch.bool))
        words = [
            model.get_text_features(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).pooler_output
            for text in texts
        ]
    np.testing.assert_allclose(pool(encoder.encode(inputs), "l2mean"), found.pooler_output.numpy(), atol=1e-4, rtol=0)
    np.testing.assert_allclose(encoder.encode_text(texts), torch.cat(words).numpy(), atol=CLOSE, rtol=0)
    assert encoder.tokens(inputs).data.shape == (len(features), 64, 64)
    assert encoder.grid.shape == tuple(found.last_hidden_state.shape[2:])


def test_clap_gives_the_same_vector_twice(tiny_checkpoint: Make) -> None:
    # transformers marks one clip of a batch as longer, at random, where none is; fusing changes its vector.
    folder = tiny_checkpoint("clap", True)
    extractor = transformers.ClapFeatureExtractor.from_pretrained(folder)
    marked = extractor(tiny.sounds(), sampling_rate=48_000)["is_longer"]
    assert sum(flag for (flag,) in marked) == 1
    encoder = tiny.load(str(folder))
    first, second = (encoder.encode(prepared(encoder)).data for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_batch_equals_singles(case: tuple[Any, ...], tiny_checkpoint: Make) -> None:
    encoder = tiny.load(str(tiny_checkpoint(*case)))
    whole = pool(encoder.encode(prepared(encoder)), encoder.spec.pool)
    single = [pool(encoder.encode(encoder.prepare([clip])), encoder.spec.pool)[0] for clip in clips(encoder.spec.rate)]
    np.testing.assert_allclose(whole, single, atol=1e-5, rtol=0)
    assert np.isfinite(whole).all() and whole.shape[1] == encoder.spec.dim


@pytest.mark.parametrize("case", ALL, ids=str)
def test_padding_of_a_window_changes_nothing(case: tuple[Any, ...], tiny_checkpoint: Make) -> None:
    encoder = tiny.load(str(tiny_checkpoint(*case)))
    (sound,) = clips(encoder.spec.rate, tiny.sounds()[1:2])
    (window,) = cut_fixed_windows(encoder.spec.window)([sound])
    assert window.valid == 17_777
    alone, padded = (pool(encoder.encode(encoder.prepare([clip])), encoder.spec.pool) for clip in (sound, window))
    np.testing.assert_allclose(alone, padded, atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_more_than_a_window_is_an_error_and_never_cut_in_silence(case: tuple[Any, ...], tiny_checkpoint: Make) -> None:
    # Trap 16: transformers drops what is beyond 10.24 s (AST) and 30 s (Whisper) without a word.
    encoder = tiny.load(str(tiny_checkpoint(*case)))
    long = np.zeros(round((encoder.spec.window + 1) * encoder.spec.rate), np.float32)
    with pytest.raises(ValueError, match="cut them into windows first"):
        encoder.prepare(clips(encoder.spec.rate, [long]))


def test_what_the_feature_extractors_accept_and_we_do_not(tiny_checkpoint: Make) -> None:
    extractor = transformers.ASTFeatureExtractor.from_pretrained(tiny_checkpoint("ast"))
    encoder = tiny.load(str(tiny_checkpoint("ast")))
    stereo = np.zeros((2, 16_000), np.float32)
    assert len(extractor(stereo, sampling_rate=16_000)["input_values"]) == 2  # trap 12: two channels, two clips
    with pytest.raises(ValueError, match="one channel, got 2"):
        encoder.prepare([Clip(stereo, "audio", 16_000)])
    with pytest.raises(ValueError, match="negative dimensions"):  # trap 13: shorter than a frame
        extractor(np.zeros(100, np.float32), sampling_rate=16_000)
    assert encoder.encode(encoder.prepare(clips(16_000, [np.zeros(1, np.float32)]))).mask.any()
    extractor(np.zeros(16_000, np.float32))  # trap 14: no rate, only a warning
    with pytest.raises(ValueError, match="16000 Hz, got 44100: resample it first"):
        encoder.prepare(clips(44_100))
    sound = np.random.default_rng(0).integers(-300, 300, 16_000).astype(np.int16)
    loud = extractor(sound, sampling_rate=16_000)["input_values"][0]
    right = extractor((sound / 32_768).astype(np.float32), sampling_rate=16_000)["input_values"][0]
    assert np.median((loud - right)[:90]) == pytest.approx(
        np.log(32_768**2) / (2 * 4.5689974), abs=1e-3
    )  # trap 15: integers pass for [-1, 1]
    with pytest.raises(ValueError, match=r"expected \(C, N\) float32"):
        Clip(np.zeros((1, 16_000), np.int16), "audio", 16_000)  # type: ignore[arg-type]
