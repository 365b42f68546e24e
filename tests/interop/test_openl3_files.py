"""OpenL3's functions on files: names, keys, nothing lost, one clock for sound and pictures, memory of a block."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import synth
from openl3_recipe import loaded
from PIL import Image

from percepts.interop import openl3
from percepts.interop.openl3 import OpenL3Error, files

pytestmark = pytest.mark.filterwarnings("ignore::percepts.interop.openl3.OpenL3Warning")


def sound(path: Path, seconds: float = 1.5, rate: int = 48_000, seed: int = 0, channels: int = 1) -> np.ndarray:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, (int(seconds * rate), channels))
    soundfile.write(path, samples, rate, "PCM_16")
    return soundfile.read(path)[0]


def film(path: Path, *, rate: int = 10, frames: int = 6, pictures: bool = True, heard: bool = True) -> Path:
    """Grey that brightens frame by frame, and noise."""
    with av.open(path, "w") as out:
        video = out.add_stream("mpeg4", rate=rate) if pictures else None
        audio = out.add_stream("pcm_s16le" if path.suffix == ".mov" else "aac", rate=48_000) if heard else None
        if video:
            video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
            for index in range(frames):
                grey = np.full((240, 320, 3), 20 + 30 * (index % 6), np.uint8)
                out.mux(video.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
            out.mux(video.encode())
        if audio:
            noise = np.random.default_rng(0).integers(-9000, 9000, (1, 48_000 * frames // rate), np.int16)
            frame = av.AudioFrame.from_ndarray(noise, "s16", "mono")
            frame.sample_rate = 48_000
            out.mux(audio.encode(frame))
            out.mux(audio.encode())
    return path


def test_a_file_gives_what_its_samples_give(own: Path, tmp_path: Path) -> None:
    for name, rate, channels in (("a.wav", 48_000, 1), ("b.c.flac", 44_100, 2)):
        samples = sound(tmp_path / name, 1.2, rate, channels=channels)
        openl3.process_audio_file(str(tmp_path / name), embedding_size=512, hop_size=0.3, verbose=False)
        held = loaded(tmp_path / f"{name.rpartition('.')[0]}.npz")
        vectors, times = openl3.get_audio_embedding(samples, rate, embedding_size=512, hop_size=0.3)
        assert sorted(held) == ["embedding", "timestamps"]
        np.testing.assert_array_equal(held["embedding"], vectors)
        np.testing.assert_array_equal(held["timestamps"], times)
        assert held["embedding"].dtype == np.float32
        assert held["timestamps"].dtype == np.float64


def test_pending_files_are_written_though_the_last_one_is_there(own: Path, tmp_path: Path) -> None:
    """openl3 never writes a and b here."""
    for name in "abc":
        sound(tmp_path / f"{name}.wav", 0.3)
    (tmp_path / "c.npz").write_bytes(b"there")
    openl3.process_audio_file([str(tmp_path / f"{n}.wav") for n in "abc"], embedding_size=512, verbose=False)
    assert {p.name for p in tmp_path.glob("*.npz")} == {"a.npz", "b.npz", "c.npz"}
    assert (tmp_path / "c.npz").read_bytes() == b"there"
    openl3.process_audio_file(str(tmp_path / "c.wav"), embedding_size=512, overwrite=True)
    assert len(loaded(tmp_path / "c.npz")["embedding"]) == 1


def test_a_file_that_fails_costs_none_before_it(own: Path, tmp_path: Path) -> None:
    sound(tmp_path / "good.wav", 0.3)
    (tmp_path / "bad.wav").write_bytes(b"RIFF....WAVEjunk")
    with pytest.raises(OpenL3Error, match=r'Could not open file ".*bad.wav"'):
        openl3.process_audio_file([str(tmp_path / "good.wav"), str(tmp_path / "bad.wav")], embedding_size=512)
    assert (tmp_path / "good.npz").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"good.wav", "bad.wav", "good.npz"}
    with pytest.raises(OpenL3Error, match="could not be found"):
        openl3.process_audio_file(str(tmp_path / "none.wav"), embedding_size=512)
    with pytest.raises(OpenL3Error, match="filepath should be"):
        openl3.process_audio_file(7, embedding_size=512)  # type: ignore[arg-type]


def test_output_paths_are_openl3s(tmp_path: Path) -> None:
    assert openl3.get_output_path("/sound/b.c.wav", ".npz", "/out") == "/out/b.c.npz"
    assert openl3.get_output_path("/sound/dog.wav", "bark.npz") == "/sound/dog_bark.npz"
    assert openl3.get_output_path("dog.wav", ".npz") == "dog.npz"


def test_output_folders_and_suffixes(own: Path, tmp_path: Path) -> None:
    sound(tmp_path / "dog.wav", 0.3)
    Image.new("RGB", (300, 260), (9, 99, 200)).save(tmp_path / "cat.png")
    out = str(tmp_path / "made" / "here")
    openl3.process_audio_file(tmp_path / "dog.wav", out, "x", embedding_size=512)  # type: ignore[arg-type]
    openl3.process_image_file(str(tmp_path / "cat.png"), out, "y", embedding_size=512)
    assert {p.name for p in Path(out).iterdir()} == {"dog_x.npz", "cat_y.npz"}
    assert loaded(Path(out) / "cat_y.npz").keys() == {"embedding"}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_pictures_of_every_mode(own: Path, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.png"
    Image.new("RGB", (260, 240), (200, 100, 50)).convert(mode).save(path)
    openl3.process_image_file(str(path), embedding_size=512)
    held = loaded(tmp_path / "picture.npz")["embedding"]
    shown = np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(held, openl3.get_image_embedding(shown, embedding_size=512))


def test_a_film_gives_both_halves_on_one_clock(own: Path, tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4")
    openl3.process_video_file(str(path), audio_embedding_size=512, image_embedding_size=512, verbose=False)
    heard, seen = (loaded(tmp_path / f"film_{kind}.npz") for kind in ("audio", "image"))
    assert seen["embedding"].shape == (6, 512)
    np.testing.assert_allclose(seen["timestamps"], np.arange(6) / 10)
    # 0.6 s and a half before them, every 0.1 s: two windows, and a third for what AAC adds at the end
    assert len(heard["embedding"]) == len(heard["timestamps"]) in (2, 3)
    openl3.process_video_file(
        str(path), suffix="x", audio_embedding_size=512, image_embedding_size=512, hop=0.2, verbose=False
    )
    heard, seen = (loaded(tmp_path / f"film_{kind}_x.npz") for kind in ("audio", "image"))
    np.testing.assert_allclose(seen["timestamps"], [0.0, 0.2, 0.4])
    np.testing.assert_allclose(heard["timestamps"], [0.0, 0.2][: len(heard["timestamps"])])


def test_a_film_is_scaled_by_255_and_strictly_by_its_brightest(own: Path, tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", heard=False)
    options = {"image_embedding_size": 512, "overwrite": True, "verbose": False}
    found = {}
    for name, extra in {"plain": {}, "strict": {"strict": True}, "trained": {"normalization": "trained"}}.items():
        openl3.process_video_file(str(path), **options, **extra)  # type: ignore[arg-type]
        found[name] = loaded(tmp_path / "film_image.npz")
    shown = [np.full((224, 224, 3), 20 + 30 * i) for i in range(6)]
    for name, scaled in {
        "plain": np.stack(shown) / 255,
        "strict": np.stack(shown) / 170,
        "trained": np.stack(shown) / 127.5 - 1,
    }.items():
        expected = openl3.get_image_embedding(scaled.astype(np.float32), embedding_size=512)
        # the codec moves grey by a level or two of 255
        cosine = (expected * found[name]["embedding"]).sum(1) / np.linalg.norm(expected, axis=1)
        assert (cosine / np.linalg.norm(found[name]["embedding"], axis=1)).min() > 0.999, name


def test_strictly_a_films_sound_lasts_as_long_as_the_film(own: Path, tmp_path: Path) -> None:
    path = synth.write_film(tmp_path / "film.mp4", 14, size=(320, 240), sound=synth.noise(48_000, 0.5))
    counts = []
    for strict in (False, True):
        openl3.process_video_file(
            str(path), audio_embedding_size=512, image_embedding_size=512, hop=0.1, overwrite=True, strict=strict
        )
        counts.append(len(loaded(tmp_path / "film_audio.npz")["timestamps"]))
    # 0.5 s and a half before it, and some for what AAC adds; then 1.4 s and a half
    assert counts[0] in (1, 2)
    assert counts[1] == 10


def test_half_a_film_gives_its_half_and_says_so(own: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"audio_embedding_size": 512, "image_embedding_size": 512, "verbose": False}
    openl3.process_video_file(str(film(tmp_path / "mute.mp4", heard=False)), **options)  # type: ignore[arg-type]
    openl3.process_video_file(str(film(tmp_path / "blind.mp4", pictures=False)), **options)  # type: ignore[arg-type]
    assert {p.name for p in tmp_path.glob("*.npz")} == {"mute_image.npz", "blind_audio.npz"}
    assert "mute.mp4 has no audio" in caplog.text
    assert "blind.mp4 has no video stream" in caplog.text


def test_what_is_there_is_skipped_half_by_half(own: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = film(tmp_path / "film.mp4")
    (tmp_path / "film_audio.npz").write_bytes(b"there")
    options = {"audio_embedding_size": 512, "image_embedding_size": 512}
    with caplog.at_level(logging.INFO):
        openl3.process_video_file(str(path), **options)  # type: ignore[arg-type]
    assert (tmp_path / "film_audio.npz").read_bytes() == b"there"
    assert (tmp_path / "film_image.npz").exists()
    assert "film_audio.npz exists and overwriting not enabled, skipping" in caplog.text
    assert "Processing" in caplog.text


@pytest.mark.parametrize("rate", [10, 25, 30])
def test_frames_stand_at_their_own_times(tmp_path: Path, rate: int) -> None:
    path = film(tmp_path / "film.mp4", rate=rate, frames=rate // 5 * 5, heard=False)
    look = files._FrameSampling(4, None, "openl3", False)
    starts = np.concatenate([s for _, s in files._frame_batches(str(path), float(rate), look)])
    np.testing.assert_allclose(starts, np.arange(rate // 5 * 5) / rate, atol=1e-9)
