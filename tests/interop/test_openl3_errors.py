"""What openl3's functions refuse and warn of: openl3's cases, in its order, with its classes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from percepts.errors import PerceptsError, WeightsError
from percepts.interop import openl3
from percepts.interop.openl3 import OpenL3Error, OpenL3Warning, models

SOUND = np.random.default_rng(0).uniform(-1, 1, 48_000)
PICTURE = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": object()}, "Must be of type"),
        ({"frontend": "essentia"}, "Invalid frontend"),
        ({"frontend": "librosa"}, "input_repr must be given"),
        ({"input_repr": "mel64"}, "Invalid input representation"),
        ({"content_type": "speech"}, "Invalid content type"),
        ({"embedding_size": 100}, "Invalid embedding size"),
        ({"verbose": 2}, "Invalid verbosity"),
        ({"audio": (1, 2)}, "audio must be type"),
        ({"audio": [[1.0, 2.0]]}, "Got a list with"),
        ({"sr": "48k"}, "sr must be type"),
        ({"sr": [48_000, 48_000]}, "Mismatch"),
        ({"audio": np.zeros(0)}, "Got empty audio"),
        ({"audio": np.ones((2, 2, 2))}, "1D or 2D"),
        ({"audio": np.array(["a"])}, "only hold numbers"),
        ({"audio": np.array([np.nan, 1.0])}, "NaN or infinity"),
        ({"audio": np.array([np.inf, 1.0])}, "NaN or infinity"),
        ({"sr": 0}, "Invalid sample rate"),
        ({"sr": [None]}, "Invalid sample rate"),
        ({"hop_size": 0}, "Invalid hop size"),
        ({"hop_size": "x"}, "Invalid hop size"),
        ({"hop_size": 1e-6}, "less than one sample"),
        ({"center": 2}, "Invalid center value"),
        ({"batch_size": 0}, "Invalid batch size"),
        ({"resample": "sinc"}, "Invalid resample"),
        ({"audio": np.ones(1), "sr": 96_001}, "not one sample at 48 kHz"),
    ],
)
def test_sounds_and_arguments_are_refused(own: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(OpenL3Error, match=message):
        openl3.get_audio_embedding(**{"audio": SOUND, "sr": 48_000, **changed})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": object()}, "Must be of type"),
        ({"input_repr": "mel64"}, "Invalid input representation"),
        ({"input_repr": None}, "Invalid input representation"),
        ({"content_type": "speech"}, "Invalid content type"),
        ({"embedding_size": 6144}, "Invalid embedding size"),
        ({"verbose": -1}, "Invalid verbosity"),
        ({"image": "daisy.jpg"}, "image must be type"),
        ({"frame_rate": "25"}, "frame_rate must be type"),
        ({"frame_rate": [1, 2]}, "Mismatch"),
        ({"frame_rate": 0}, "Invalid frame rate"),
        ({"frame_rate": ["x"]}, "Invalid frame rate"),
        ({"image": np.zeros((0, 224, 224, 3))}, "Got empty image"),
        ({"image": PICTURE[..., 0]}, "3D or 4D"),
        ({"image": np.ones((224, 224, 4), np.uint8)}, "3 channel"),
        ({"image": PICTURE[:223]}, "at least as large as 224x224"),
        ({"image": np.full((224, 224, 3), np.nan)}, "NaN or infinity"),
        ({"image": np.full((224, 224, 3), "a")}, "only hold numbers"),
        ({"normalization": "imagenet"}, "Invalid normalization"),
        ({"image": PICTURE / 255, "normalization": "trained"}, "takes uint8"),
    ],
)
def test_pictures_and_arguments_are_refused(own: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(OpenL3Error, match=message):
        openl3.get_image_embedding(**{"image": PICTURE, **changed})


def test_a_model_must_fit_the_frontend_and_the_medium(own: Path) -> None:
    kapre = models.load_audio_embedding_model("mel256", "music", 512)
    librosa = models.load_audio_embedding_model("mel256", "music", 512, "librosa")
    picture = models.load_image_embedding_model("mel256", "music", 512)
    with pytest.raises(OpenL3Error, match="input of 4 axes, got one of 3"):
        openl3.get_audio_embedding(SOUND, 48_000, kapre, "mel256", frontend="librosa")
    with pytest.raises(OpenL3Error, match="input of 3 axes, got one of 4"):
        openl3.get_audio_embedding(SOUND, 48_000, librosa)
    with pytest.raises(OpenL3Error, match="for a model of mel256"):
        openl3.get_audio_embedding(SOUND, 48_000, librosa, "mel128", frontend="librosa")
    with pytest.raises(OpenL3Error, match="Must be an audio model"):
        openl3.get_audio_embedding(SOUND, 48_000, picture)
    with pytest.raises(OpenL3Error, match="Must be an image model"):
        openl3.get_image_embedding(PICTURE, model=kapre)


def test_values_that_openl3_lets_through_pass(own: Path) -> None:
    for center in (True, False, 1, 0):
        openl3.get_audio_embedding(SOUND, 48_000, center=center, hop_size=1, embedding_size=512, verbose=1)
    openl3.get_audio_embedding(SOUND, np.float64(48_000), hop_size=np.float32(1), embedding_size=512)


def test_silence_is_warned_of_before_it_is_resampled(own: Path) -> None:
    with pytest.warns(OpenL3Warning, match="Provided audio is all zeros"):
        vectors, _ = openl3.get_audio_embedding(np.zeros(96_000), 48_000, hop_size=1, embedding_size=512)
    assert np.isfinite(vectors).all()
    with pytest.warns(OpenL3Warning, match="Provided image is all zeros"):
        openl3.get_image_embedding(PICTURE * 0, embedding_size=512)


@pytest.mark.parametrize(("count", "rate", "warned"), [(47_999, 48_000, True), (48_000, 48_000, False)])
def test_less_than_a_second_is_warned_of(own: Path, count: int, rate: int, warned: bool) -> None:
    sound = np.random.default_rng(1).uniform(-1, 1, count)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        openl3.get_audio_embedding(sound, rate, hop_size=1, embedding_size=512)
    said = [str(w.message) for w in caught if issubclass(w.category, OpenL3Warning)]
    assert any("shorter than window size (1 second)" in message for message in said) == warned


def test_a_warning_points_at_the_callers_line(own: Path) -> None:
    with pytest.warns(OpenL3Warning) as caught:
        openl3.get_audio_embedding(np.zeros(100), 48_000, hop_size=1, embedding_size=512)
    assert {Path(w.filename).name for w in caught} == {Path(__file__).name}


def test_one_sample_is_enough(own: Path) -> None:
    with pytest.warns(OpenL3Warning):
        vectors, times = openl3.get_audio_embedding(np.array([0.5]), 48_000, embedding_size=512)
    assert vectors.shape == (1, 512)
    assert times.tolist() == [0.0]


@pytest.mark.parametrize("size", [100, 8192, None])
def test_sizes_that_are_not_published_are_refused(own: Path, size: Any) -> None:
    with pytest.raises(OpenL3Error, match="Invalid embedding size"):
        models.load_audio_embedding_model("mel256", "music", size)


def test_loading_refuses_by_name(own: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="openl3_audio_mel256_env"):
        models.load_audio_embedding_model("mel256", "env", 512)
    with pytest.raises(OpenL3Error, match="Invalid content type"):
        models.load_audio_embedding_model("mel256", "speech", 512)
    with pytest.raises(OpenL3Error, match="Invalid frontend"):
        models.load_audio_embedding_model("mel256", "music", 512, "other")
    with pytest.raises(FileNotFoundError):
        models.load_audio_embedding_model_from_path(tmp_path / "none.h5", "mel256", 512)
    with pytest.raises(WeightsError, match="no OpenL3 audio network"):
        models.load_audio_embedding_model_from_path(own / "openl3_image_mel256_music.h5", "mel256", 512)
    with pytest.raises(WeightsError, match="no OpenL3 image network"):
        models.load_image_embedding_model_from_path(own / "openl3_audio_mel256_music.h5", 512)
    assert issubclass(OpenL3Error, PerceptsError)
