"""OpenL3's functions on arrays: the numbers of the unmodified openl3 0.4.2, and what holds without them."""

from __future__ import annotations

import itertools
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openl3_recipe import loaded

from percepts.interop import openl3
from percepts.interop.openl3 import models
from percepts.interop.openl3.audio import WindowCut, cut_windows
from percepts.preprocess.openl3 import spectrogram

pytestmark = pytest.mark.filterwarnings("ignore::percepts.interop.openl3.OpenL3Warning")

VARIANTS = [(r, s, f) for r, s in (("linear", 512), ("mel128", 512), ("mel256", 6144)) for f in ("kapre", "librosa")]
NOISES = ("noise_48k", "noise_quiet_48k", "stereo_48k", "short_center", "silence", "one_sample", "clicks")


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize(("input_repr", "size", "frontend"), VARIANTS)
def test_embeddings_and_timestamps_are_openl3s(
    shared: Path, weights: Path, input_repr: str, size: int, frontend: str
) -> None:
    folder = shared / "openl3"
    meta, inputs = json.loads((folder / "inputs_audio.json").read_text()), loaded(folder / "inputs_audio.npz")
    reference = loaded(folder / f"ref_audio_{input_repr}_{size}_{frontend}.npz")
    model = models.load_audio_embedding_model_from_path(
        weights / f"openl3_audio_{input_repr}_music.h5", input_repr, size, frontend
    )
    for name, told in meta.items():
        ours, times = openl3.get_audio_embedding(
            inputs[name].astype(np.float64), told["sr"], model=model, input_repr=input_repr, embedding_size=size,
            center=told["center"], hop_size=told["hop"], frontend=frontend, verbose=0,
        )  # fmt: skip
        theirs = reference[f"emb/{name}"]
        np.testing.assert_array_equal(times, reference[f"ts/{name}"], err_msg=name)
        assert (ours.shape, ours.dtype, times.dtype) == (theirs.shape, theirs.dtype, np.float64)
        if frontend == "librosa":
            # the frontend is float64 in both; what is left are float32 convolutions, and a resampler's clock (3e-7)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-4, err_msg=name)
        elif name in NOISES:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-4, err_msg=name)
        else:
            # quiet bins beside a tone hold the rounding noise of a float32 transform, in openl3 as here
            assert cosines(ours, theirs).min() > 0.9995, name


def test_the_small_embedding_is_the_maximum_of_the_large_one(shared: Path) -> None:
    large, small = (loaded(shared / "openl3" / f"ref_audio_mel256_{n}_kapre.npz")["emb/noise_48k"] for n in (6144, 512))
    np.testing.assert_allclose(large.reshape(-1, 12, 512).max(1), small, rtol=0, atol=1e-5)  # openl3's own two runs


@pytest.mark.parametrize("size", [512, 8192])
def test_embeddings_of_pictures_are_openl3s(shared: Path, weights: Path, size: int) -> None:
    inputs, reference = (loaded(shared / "openl3" / n) for n in ("inputs_image.npz", f"ref_image_{size}.npz"))
    model = models.load_image_embedding_model_from_path(weights / "openl3_image_mel256_music.h5", size)
    for name in inputs:
        ours = openl3.get_image_embedding(inputs[name], model=model, embedding_size=size, verbose=0)
        np.testing.assert_allclose(ours, reference[f"emb/{name}"], rtol=0, atol=2e-4, err_msg=name)


def test_models_are_found_by_name(own: Path) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, 48_000)
    vectors, times = openl3.get_audio_embedding(audio, 48_000, embedding_size=512, hop_size=0.5)
    assert vectors.shape == (2, 512)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(times, [0.0, 0.5])
    model = openl3.models.load_audio_embedding_model("mel256", "music", 512)
    again, _ = openl3.get_audio_embedding(audio, 48_000, model=model, embedding_size=512, hop_size=0.5)
    np.testing.assert_array_equal(again, vectors)
    assert openl3.models.get_audio_embedding_model_path("mel256", "music") == str(model.path)


def test_lists_in_give_lists_out(own: Path) -> None:
    rng = np.random.default_rng(1)
    sounds = [rng.uniform(-1, 1, n) for n in (48_000, 20_000)]
    vectors, times = openl3.get_audio_embedding(sounds, [48_000, 16_000], embedding_size=512, hop_size=1.0)
    assert isinstance(vectors, list)
    assert isinstance(times, list)
    for sound, rate, vector in zip(sounds, (48_000, 16_000), vectors, strict=True):
        alone, _ = openl3.get_audio_embedding(sound, rate, embedding_size=512, hop_size=1.0)
        np.testing.assert_array_equal(alone, vector)
    pictures = [rng.integers(0, 256, (224, 224, 3), np.uint8) for _ in range(2)]
    assert [v.shape for v in openl3.get_image_embedding(pictures, embedding_size=512)] == [(1, 512)] * 2


def test_predict_takes_what_preprocess_audio_gives(own: Path) -> None:
    audio = np.random.default_rng(2).uniform(-1, 1, 60_000)
    for frontend in ("kapre", "librosa", "trained"):
        model = models.load_audio_embedding_model("mel128", "music", 512, frontend)
        options = {"hop_size": 0.5, "center": False}
        shown = openl3.preprocess_audio(
            audio, 48_000, input_repr="mel128" if frontend == "librosa" else None, **options
        )
        assert shown.shape[1:] == model.input_shape[1:]
        vectors, _ = openl3.get_audio_embedding(
            audio, 48_000, model=model, input_repr="mel128", embedding_size=512, frontend=frontend, **options
        )
        np.testing.assert_array_equal(model.predict(shown), vectors)
        assert model.output_shape == (None, 512)
        with pytest.raises(openl3.OpenL3Error, match="Invalid input of shape"):
            model.predict(shown[0])


def test_preprocess_audio_gives_librosas_spectrograms() -> None:
    audio = np.random.default_rng(3).uniform(-1, 1, 48_000)
    shown = openl3.preprocess_audio(audio, 48_000, input_repr="linear", center=False)
    np.testing.assert_array_equal(shown[0, :, :, 0], spectrogram(audio[None], "linear", "librosa")[0])
    assert openl3.preprocess_audio(audio, 48_000, 0.5).shape == (2, 1, 48_000)


def plain_windows(audio: np.ndarray, hop: int, center: bool) -> np.ndarray:
    """OpenL3's framing in one go."""
    audio = np.concatenate([np.zeros(24_000 * center), audio])
    count = 1 if len(audio) <= 48_000 else 1 + int(np.ceil((len(audio) - 48_000) / hop))
    audio = np.pad(audio, (0, max(0, 48_000 + (count - 1) * hop - len(audio))))
    return np.stack([audio[i * hop : i * hop + 48_000] for i in range(count)])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 150_000), st.sampled_from([4800, 24_000, 48_000, 70_001]), st.booleans(),
    st.lists(st.integers(0, 60_000), max_size=5),
)  # fmt: skip
def test_windows_are_openl3s_however_the_stream_is_cut(length: int, hop: int, center: bool, cuts: list[int]) -> None:
    audio = np.random.default_rng(length).uniform(-1, 1, length)
    edges = [0, *np.minimum(np.cumsum(cuts, dtype=int), length), length]
    blocks = [audio[a:b] for a, b in itertools.pairwise(edges)]
    ours = np.concatenate([np.array(batch) for batch in cut_windows(blocks, WindowCut(hop, hop / 48_000, center, 7))])
    np.testing.assert_array_equal(ours, plain_windows(audio, hop, center))


def test_times_are_where_the_windows_are() -> None:
    assert WindowCut(4800, 0.1, True).timestamps(4).tolist() == (np.arange(4) * 0.1).tolist()
    third = 1 / 3  # int(48000 / 3) is 16000: the same; .00333 is 159 samples and not 159.84
    assert WindowCut(int(third * 48_000), third, True).timestamps(3)[2] == pytest.approx(2 / 3, abs=1e-9)
    ours, theirs = (WindowCut(159, 0.00333, True, strict=strict).timestamps(10_001)[-1] for strict in (False, True))
    assert ours == pytest.approx(10_000 * 159 / 48_000)
    assert theirs == 10_000 * 0.00333  # 175 ms off after half a minute


def test_integers_are_scaled_unless_strict() -> None:
    audio = np.random.default_rng(4).integers(-2000, 2000, 48_000).astype(np.int16)
    shown = openl3.preprocess_audio(audio, 48_000, center=False)
    np.testing.assert_array_equal(shown[0, 0], audio / 32_768)
    np.testing.assert_array_equal(openl3.preprocess_audio(audio, 48_000, center=False, strict=True)[0, 0], audio)
    unsigned = openl3.preprocess_audio(np.full(48_000, 192, np.uint8), 48_000, center=False)
    assert (unsigned == 0.5).all()


def test_channels_may_come_first_unless_strict() -> None:
    audio = np.random.default_rng(5).uniform(-1, 1, (48_000, 2))
    one, other = (openl3.preprocess_audio(a, 48_000, center=False) for a in (audio, np.ascontiguousarray(audio.T)))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-15)
    strict = openl3.preprocess_audio(audio.T, 48_000, center=False, strict=True)
    np.testing.assert_allclose(strict[0, 0, :2], audio.mean(0))  # averaged over time, as openl3 does
    assert not strict[0, 0, 2:].any()


def test_every_list_of_frames_has_its_own_rate_unless_strict(own: Path) -> None:
    frames = np.random.default_rng(6).integers(0, 256, (2, 224, 224, 3), np.uint8)
    _, times = openl3.get_image_embedding([frames, frames], [10, 25], embedding_size=512)
    assert [t[1] for t in times] == [0.1, 0.04]
    _, times = openl3.get_image_embedding([frames, frames], [10, 25], embedding_size=512, strict=True)
    assert [t[1] for t in times] == [0.04, 0.04]
    _, times = openl3.get_image_embedding(frames, 10, embedding_size=512)
    np.testing.assert_array_equal(times, [0.0, 0.1])


def test_soxr_is_near_and_not_the_same(own: Path) -> None:
    audio = np.random.default_rng(7).uniform(-1, 1, 16_000)
    options = {"center": False, "hop_size": 1.0}
    ours, theirs = (openl3.preprocess_audio(audio, 16_000, resample=r, **options)[0, 0] for r in ("soxr", "openl3"))
    assert len(ours) == len(theirs)
    assert 0 < np.abs(ours - theirs).max() < 0.5  # resampy 0.2.2 lets through less near 8 kHz


def test_the_trained_normalisation_takes_any_8_bit_picture(own: Path) -> None:
    picture = np.random.default_rng(8).integers(0, 256, (100, 180, 3), np.uint8)
    assert openl3.get_image_embedding(picture, embedding_size=512, normalization="trained").shape == (1, 512)


def test_a_model_is_loaded_once(own: Path) -> None:
    """openl3 makes a new one every time, and memory grows (its issue 38)."""
    nets = {id(models.load_audio_embedding_model("mel128", "music", size)._net) for size in (6144, 512, 512)}
    assert len(nets) == 1


def test_names_and_defaults_are_openl3s() -> None:
    import inspect

    def arguments(function: object) -> str:
        found = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
        kept = [p for p in found if p.kind is not p.KEYWORD_ONLY]
        return " ".join(p.name if p.default is p.empty else f"{p.name}={p.default}" for p in kept)

    audio = "model=None input_repr=None content_type=music embedding_size=6144 center=True hop_size=0.1 batch_size=32"
    image = "model=None input_repr=mel256 content_type=music embedding_size=8192 batch_size=32"
    assert arguments(openl3.get_audio_embedding) == f"audio sr {audio} frontend=kapre verbose=True"
    assert arguments(openl3.get_image_embedding) == f"image frame_rate=None {image} verbose=True"
    files = "filepath output_dir=None suffix=None"
    assert arguments(openl3.process_audio_file) == f"{files} {audio} overwrite=False frontend=kapre verbose=True"
    assert arguments(openl3.process_image_file) == f"{files} {image} overwrite=False verbose=True"
    assert arguments(openl3.process_video_file) == (
        f"{files} audio_model=None image_model=None input_repr=None content_type=music audio_embedding_size=6144 "
        "audio_center=True audio_hop_size=0.1 image_embedding_size=8192 audio_batch_size=32 image_batch_size=32 "
        "audio_frontend=kapre overwrite=False verbose=True"
    )
    assert arguments(openl3.preprocess_audio) == "audio sr hop_size=0.1 input_repr=None center=True"
    assert arguments(openl3.get_output_path) == "filepath suffix output_dir=None"
    assert arguments(models.load_audio_embedding_model) == "input_repr content_type embedding_size frontend=kapre"
    assert arguments(models.load_audio_embedding_model_from_path) == (
        "model_path input_repr embedding_size frontend=kapre"
    )
    assert arguments(models.load_image_embedding_model) == "input_repr content_type embedding_size"
    assert arguments(models.load_image_embedding_model_from_path) == "model_path embedding_size"
    assert models.AUDIO_POOLING_SIZES["mel128"] == {6144: (4, 8), 512: (16, 24)}
    assert models.AUDIO_POOLING_SIZES["linear"] == {6144: (8, 8), 512: (32, 24)}
    assert openl3.core.TARGET_SR == 48_000
    assert issubclass(openl3.OpenL3Warning, Warning)


def test_nothing_is_said_where_nothing_is_wrong(own: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        openl3.get_audio_embedding(np.random.default_rng(9).uniform(-1, 1, 48_000), 48_000, hop_size=1, center=False)
