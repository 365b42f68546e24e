from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import percepts
from percepts import adapters
from percepts.errors import NotMedia, WeightsError


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, np.random.default_rng(0).standard_normal(16000 * 9) * 0.1, 16000)
    return path


def test_every_window_of_a_recording_gives_its_tokens_and_its_time(talk: Path) -> None:
    adapter = adapters.make_adapter("stack", 64, 48, k=3, hidden=8).eval()
    found = percepts.soft_tokens(talk, "melstats", adapter)
    assert found.embeds.shape == (3, adapter.out_len(8), 48)
    assert found.spans == ((0.0, 4.0), (4.0, 8.0), (8.0, 9.0))
    window = percepts.open_audio(talk)
    encoder = percepts.load_encoder("melstats")
    part = percepts.Clip(window.data[:, 4 * 16000 : 8 * 16000], "audio", 16000.0)
    frames = torch.from_numpy(encoder.encode(encoder.prepare([part])).data)
    torch.testing.assert_close(found.embeds[1:2], adapter(frames).embeds.detach(), atol=1e-6, rtol=1e-5)


def test_a_picture_through_an_adapter_of_a_folder(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    adapters.save_adapter(adapters.make_adapter("linear", 8, 24), tmp_path / "adapter")
    found = percepts.soft_tokens(tmp_path / "red.png", "fake-image", tmp_path / "adapter")
    assert found.embeds.shape[::2] == (1, 24) and found.spans == ((0.0, 0.0),)


def test_an_adapter_of_another_encoder_is_refused(talk: Path, tmp_path: Path) -> None:
    adapter = adapters.make_adapter("linear", 64, 24)
    adapter.about = {"encoder": "ge2e"}
    with pytest.raises(ValueError, match="trained on the frames of ge2e, not on those of melstats"):
        percepts.soft_tokens(talk, "melstats", adapter)
    with pytest.raises(ValueError, match=r"\(B, T, 60\).*64"):
        percepts.soft_tokens(talk, "melstats", adapters.make_adapter("linear", 60, 24))
    with pytest.raises(WeightsError, match=r"adapter\.json"):
        percepts.soft_tokens(talk, "melstats", tmp_path)
    with pytest.raises(NotMedia, match="takes image"):
        percepts.soft_tokens(talk, "fake-image", adapters.make_adapter("linear", 8, 24))
