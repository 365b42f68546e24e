"""OpenL3 as an encoder of the registry, on random weights: its own functions' numbers, in percepts' own way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openl3_recipe as recipe
import pyarrow.parquet as parquet
import pytest
import soundfile

import percepts
from percepts import encoders
from percepts.encoders import pooling
from percepts.errors import WeightsError
from percepts.interop import openl3
from percepts.networks.openl3.plan import PUBLISHED
from percepts.types import Clip, Encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("weights")
    recipe.write(made, "openl3_audio_mel256_music", "mel256")
    recipe.write(made, "openl3_audio_linear_env", "linear", "-v0_4_0.h5.gz")
    recipe.write(made, "openl3_image_mel256_music", "image")
    return made


@pytest.fixture(autouse=True)
def own(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERCEPTS_OPENL3_WEIGHTS", str(folder))
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PERCEPTS_OFFLINE", "1")


def vectors(name: str, clips: list[Clip]) -> np.ndarray:
    encoder = encoders.load_encoder(name)
    assert isinstance(encoder, Encoder)
    return pooling.pool(encoder.encode(encoder.prepare(clips)), encoder.spec.pool)


def noise(seed: int = 0, count: int = 48_000) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, count).astype(np.float32)


def test_every_published_network_is_in_the_registry_in_both_sizes() -> None:
    for model in PUBLISHED:
        large, small = encoders.model_spec(model.name), encoders.model_spec(f"{model.name}-512")
        assert (large.dim, small.dim) == ((6144, 512) if model.modality == "audio" else (8192, 512))
        assert large.kind == small.kind == model.modality
        assert (large.rate, large.window) == ((48_000, 1.0) if model.modality == "audio" else (0.0, 0.0))


@pytest.mark.parametrize(("name", "size"), [("openl3-mel256-music", 6144), ("openl3-mel256-music-512", 512)])
def test_sounds_get_the_vectors_that_openl3s_function_gives(name: str, size: int) -> None:
    found = vectors(name, [Clip(noise(seed)[None], "audio", 48_000.0) for seed in range(2)])
    for seed in range(2):
        expected, _ = openl3.get_audio_embedding(noise(seed), 48_000, embedding_size=size, center=False, hop_size=1.0)
        np.testing.assert_array_equal(found[seed], expected[0])


def test_pictures_get_the_vectors_that_openl3s_function_gives() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    found = vectors("openl3-image-mel256-music", [Clip(picture[None], "image", 0.0)])
    # 2 * (x / 255) - 1 and x * (2 / 255) - 1 differ by one unit in the last place, eight layers deep
    np.testing.assert_allclose(found, openl3.get_image_embedding(picture), rtol=0, atol=1e-4)
    assert vectors("openl3-image-mel256-music-512", [Clip(picture[None, :50], "image", 0.0)]).shape == (1, 512)


def test_padding_does_not_count() -> None:
    dirty = noise()
    dirty[20_000:] = 0.3
    found = vectors("openl3-linear-env", [Clip(dirty[None], "audio", 48_000.0, valid=20_000)])
    expected = vectors("openl3-linear-env", [Clip(dirty[None, :20_000], "audio", 48_000.0)])
    np.testing.assert_array_equal(found, expected)


def test_preparing_needs_no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERCEPTS_OPENL3_WEIGHTS", str(tmp_path))
    encoder = encoders.load_encoder("openl3-mel128-env")
    inputs = encoder.prepare([Clip(noise()[None], "audio", 48_000.0)])
    assert inputs["x"].shape == (1, 1, 128, 199)
    with pytest.raises(WeightsError, match="openl3_audio_mel128_env-v0_4_0"):
        encoder.encode(inputs)


def test_a_job_embeds_with_it(tmp_path: Path) -> None:
    samples = noise(3, 120_000)
    soundfile.write(tmp_path / "noise.wav", samples, 48_000, "FLOAT")
    report = percepts.embed([tmp_path / "noise.wav"], tmp_path / "out", models=["openl3-mel256-music"], workers=1)
    assert (report.done, report.failed, report.rows) == (1, 0, 3)
    (part,) = (tmp_path / "out" / "data" / "openl3-mel256-music").glob("*.parquet")
    table = parquet.read_table(part)
    assert table["start"].to_pylist() == [0.0, 1.0, 2.0]
    expected, _ = openl3.get_audio_embedding(samples, 48_000, center=False, hop_size=1.0)
    np.testing.assert_array_equal(np.array(table["vector"].to_pylist(), np.float32), expected)
    assert percepts.verify(tmp_path / "out").ok
