"""HEAR's rules (hear-validator, re-stated: contracts of hearbenchmark.com/hear-api.html) for every audio encoder."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from need_weights import need_weights

from percepts import encoders
from percepts.interop import hear
from percepts.networks.openl3 import runner

NAMES = [name for name in encoders.list_models() if encoders.model_spec(name).kind == "audio"]


def module(name: str) -> ModuleType:
    return import_module(f"percepts.interop.hear.{name.replace('-', '_')}")


def test_every_audio_encoder_has_its_module() -> None:
    folder = Path(hear.__file__).parent
    modules = {path.stem for path in folder.glob("[a-z]*.py")} - {"functions"}  # what the modules share
    assert modules == {name.replace("-", "_") for name in NAMES}
    for name in NAMES:
        assert f'module("{name}")' in Path(str(module(name).__file__)).read_text("utf-8")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenL3's networks take a twentieth of a second a window: a stand-in of the right shape does for the rules."""

    def grid(self: object, batch: np.ndarray) -> np.ndarray:
        return np.repeat(batch.mean(axis=(1, 3))[:, None, :1], 12 * 512, axis=2).reshape(len(batch), 12, 512)

    monkeypatch.setattr(runner.LazyGrid, "__call__", grid)


def loaded(name: str) -> torch.nn.Module:
    if not name.startswith("openl3"):
        need_weights(*encoders.model_spec(name).weights)
    model = module(name).load_model()
    assert isinstance(model, torch.nn.Module)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_the_attributes_are_hears(name: str) -> None:
    model = module(name).load_model()
    assert model.sample_rate in (16_000, 22_050, 32_000, 44_100, 48_000)
    assert type(model.scene_embedding_size) is type(model.timestamp_embedding_size) is int


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        (name, s) for name in NAMES for s in (1.07, 1.98, 4.0) if s < 4 or not name.endswith("-512")
    ],  # one network, twice
)
def test_timestamps_are_regular_dense_and_within_the_sound(name: str, seconds: float, quick: None) -> None:
    model = loaded(name)
    sounds = torch.rand(2, int(seconds * model.sample_rate), generator=torch.Generator().manual_seed(0)) * 2 - 1
    vectors, times = module(name).get_timestamp_embeddings(sounds, model)
    assert vectors.shape == (2, times.shape[1], model.timestamp_embedding_size)
    assert times.shape[0] == 2
    assert vectors.dtype == torch.float32
    assert torch.isfinite(vectors).all()
    gaps = times.diff(dim=1)
    assert (gaps - gaps.mean()).abs().max() < 1  # milliseconds
    assert gaps.max() <= 50.001
    assert times.max() <= seconds * 1000
    assert times.min() >= 0
    assert seconds * 1000 - times.max() <= 50.001


@pytest.mark.parametrize("name", NAMES)
def test_scenes_are_one_float32_vector_a_sound(name: str, quick: None) -> None:
    model = loaded(name)
    sounds = torch.rand(4, int(2.74 * model.sample_rate), generator=torch.Generator().manual_seed(1)) * 2 - 1
    vectors = module(name).get_scene_embeddings(sounds, model)
    assert vectors.shape == (4, model.scene_embedding_size)
    assert vectors.dtype == torch.float32
    assert torch.isfinite(vectors).all()
    one = module(name).get_scene_embeddings(sounds[2:3], model)
    torch.testing.assert_close(one[0], vectors[2], rtol=0, atol=0)


def test_moments_are_where_the_sound_is() -> None:
    """A click at 0.5 s: the loudest moments of a window of one second are around it."""
    model = module("fake-audio").load_model(hop=0.025)
    sound = torch.zeros(1, 2 * model.sample_rate)
    sound[0, model.sample_rate // 2] = 1.0
    vectors, times = module("fake-audio").get_timestamp_embeddings(sound, model)
    heard = times[0][vectors[0].sum(dim=1) > 0.001]
    assert heard.min() <= 26
    assert 950 <= heard.max() <= 1050


def test_openl3_gives_openl3s_vectors_from_a_weight_file(weights: Path) -> None:
    from percepts.interop import openl3

    file = weights / "openl3_audio_mel128_music.h5"
    model = module("openl3-mel128-music-512").load_model(str(file), hop=0.5)
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000).astype(np.float32)
    vectors, times = module("openl3-mel128-music-512").get_timestamp_embeddings(torch.from_numpy(sound[None]), model)
    net = openl3.models.load_audio_embedding_model_from_path(file, "mel128", 512)
    expected, _ = openl3.get_audio_embedding(sound, 48_000, net, embedding_size=512, hop_size=0.5)
    np.testing.assert_array_equal(vectors[0, :2].numpy(), expected)
    assert times[0].tolist() == [0.0, 500.0, 1000.0]


def test_what_is_no_sound_and_no_weights_is_refused() -> None:
    model = module("fake-audio").load_model()
    with pytest.raises(ValueError, match="n_sounds, n_samples"):
        module("fake-audio").get_scene_embeddings(torch.zeros(100), model)
    with pytest.raises(ValueError, match="finds its own weights"):
        module("melstats").load_model("weights.pt")
