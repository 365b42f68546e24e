"""`percepts openl3`: openl3's flags, its files, and convert, export and verify, on random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import openl3_recipe as recipe
import pytest
import soundfile
from PIL import Image
from typer.testing import CliRunner, Result

from percepts.cli import app
from percepts.errors import WeightsError
from percepts.interop import openl3
from percepts.interop.openl3.verify import ReferenceResult, verify_references

pytestmark = pytest.mark.filterwarnings("ignore::percepts.interop.openl3.OpenL3Warning")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for stem, what in {
        "audio_mel256_music": "mel256",
        "audio_linear_env": "linear",
        "image_mel256_music": "image",
        "image_linear_env": "image",
    }.items():
        recipe.write(folder, f"openl3_{stem}", what)
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PERCEPTS_OFFLINE", "1")
    monkeypatch.delenv("PERCEPTS_OPENL3_WEIGHTS", raising=False)


def run(*arguments: object, fine: bool = True) -> Result:
    result = CliRunner().invoke(app, ["openl3", *map(str, arguments)])
    if fine:
        assert result.exit_code == 0, (result.output, result.exception)
    return result


def sound(path: Path, seconds: float = 0.4) -> Path:
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, int(48_000 * seconds)), 48_000, "PCM_16")
    return path


def test_openl3s_flags_do_what_they_did(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "in").mkdir()
    sound(tmp_path / "in" / "dog.wav", 1.6)
    run("audio", tmp_path / "in", "-o", tmp_path / "out", "-x", "bark", "-i", "linear", "-c", "env", "-as", "512",
        "-n", "-t", "0.5", "-ab", "4", "-is", "512", "-ib", "2", "-af", "librosa", "-ow", "-q",
        "--weights", weights)  # fmt: skip
    held = recipe.loaded(tmp_path / "out" / "dog_bark.npz")
    model = openl3.models.load_audio_embedding_model("linear", "env", 512, "librosa", weights=weights)
    expected, times = openl3.get_audio_embedding(
        soundfile.read(tmp_path / "in" / "dog.wav")[0], 48_000, model, "linear", embedding_size=512, center=False,
        hop_size=0.5, frontend="librosa",
    )  # fmt: skip
    np.testing.assert_array_equal(held["embedding"], expected)
    np.testing.assert_array_equal(held["timestamps"], times)


def test_long_flags_and_what_is_new(tmp_path: Path, weights: Path) -> None:
    sound(tmp_path / "dog.wav", 0.5)
    run("audio", tmp_path / "dog.wav", "--audio-embedding-size", "512", "--dense", "--resample", "soxr",
        "--runtime", "onnx", "--audio-frontend", "trained", "--strict", "--weights", weights)  # fmt: skip
    assert recipe.loaded(tmp_path / "dog.npz")["embedding"].shape == (1, 512)


def test_pictures_and_films(tmp_path: Path, weights: Path, shared: Path) -> None:
    Image.new("RGB", (300, 240), (200, 90, 10)).save(tmp_path / "cat.png")
    run("image", tmp_path / "cat.png", "-is", "512", "--normalization", "trained", "--weights", weights)
    assert recipe.loaded(tmp_path / "cat.npz")["embedding"].shape == (1, 512)
    film = shared / "openl3" / "official" / "bento.mp4"
    run("video", film, "-o", tmp_path, "-as", "512", "-is", "512", "--hop", "0.5", "--weights", weights)
    heard, seen = (recipe.loaded(tmp_path / f"bento_{kind}.npz") for kind in ("audio", "image"))
    np.testing.assert_allclose(seen["timestamps"], [0.0, 0.5, 1.0])
    np.testing.assert_allclose(heard["timestamps"], np.arange(len(heard["timestamps"])) * 0.5)


def test_no_files_and_no_such_file(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run("audio", tmp_path / "empty", "--weights", weights, fine=False)
    assert result.exit_code == 255
    assert "No files found" in result.stderr
    result = run("audio", tmp_path / "none.wav", fine=False)
    assert isinstance(result.exception, FileNotFoundError)
    assert run("audio", tmp_path / "none.wav", "-i", "mel64", fine=False).exit_code == 2


def test_without_weights_it_says_which_file_to_put_where(tmp_path: Path) -> None:
    error = run("audio", sound(tmp_path / "dog.wav"), fine=False).exception
    assert isinstance(error, WeightsError)
    assert "openl3_audio_mel256_music-v0_4_0.h5.gz" in str(error)


def test_convert_gives_a_file_that_is_found(tmp_path: Path) -> None:
    old = recipe.write(tmp_path, "openl3_audio_mel256_music", "mel256", "-v0_2_0.h5.gz")
    done = run("convert", old, "-o", tmp_path / "new")
    assert "audio, sha256 of its arrays" in done.stdout
    made = tmp_path / "new" / "openl3_audio_mel256_music.safetensors"
    assert openl3.models.load_audio_embedding_model("mel256", "music", 512, weights=made.parent).path == made


@pytest.mark.parametrize(("modality", "frontend"), [("audio", "kapre"), ("audio", "librosa"), ("image", "kapre")])
def test_export_gives_our_embeddings_elsewhere(tmp_path: Path, weights: Path, modality: str, frontend: str) -> None:
    out = tmp_path / "net.onnx"
    done = run("export", modality, "-o", out, "-s", "512", "-af", frontend, "--weights", weights)
    assert "largest difference" in done.stdout
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(5)
    if modality == "image":
        model = openl3.models.load_image_embedding_model("mel256", "music", 512, weights=weights)
        x = rng.uniform(-1, 1, (3, 224, 224, 3)).astype(np.float32)
        theirs = session.run(None, {"image": x})[0]
    else:
        model = openl3.models.load_audio_embedding_model("mel256", "music", 512, frontend, weights=weights)
        windows = rng.uniform(-1, 1, (3, 1, 48_000)).astype(np.float32)
        x = windows if frontend == "kapre" else rng.uniform(-80, 0, (3, 256, 199, 1)).astype(np.float32)
        name = "audio" if frontend == "kapre" else "spectrogram"
        theirs = session.run(None, {name: x[:, 0] if frontend == "kapre" else x})[0]
    # float32 in both, in another order of sums; values reach 20
    np.testing.assert_allclose(theirs, model.predict(x), rtol=0, atol=2e-4)


def test_export_of_a_file_and_a_wrong_modality(tmp_path: Path, weights: Path) -> None:
    file = weights / "openl3_audio_linear_env.h5"
    run("export", "audio", "--file", file, "-i", "linear", "-s", "512", "-o", tmp_path / "net.onnx")
    assert run("export", "video", "-o", tmp_path / "x.onnx", fine=False).exit_code == 2


def test_verify_says_what_it_needs(tmp_path: Path) -> None:
    result = run("verify", "--data", tmp_path, fine=False)
    assert result.exit_code == 1
    for name in ("openl3_audio_mel256_music-v0_4_0.h5.gz", "openl3_image_linear_env", "chirp_44k.wav", "marl/openl3"):
        assert name in result.stderr


def test_verify_agrees_with_references_that_are_its_own(tmp_path: Path, weights: Path, shared: Path) -> None:
    """Stand-ins for upstream's npz, made with the random weights: a frontend must agree with its own file alone."""
    official = shared / "openl3" / "official"
    data = tmp_path / "data"
    data.mkdir()
    (data / "chirp_44k.wav").write_bytes((official / "chirp_44k.wav").read_bytes())
    for frontend, suffix in {"kapre": "_kapre", "librosa": "_kapre"}.items():
        if frontend == "kapre":
            run("audio", data / "chirp_44k.wav", "-x", "x", "-i", "linear", "-c", "env", "-as", "512", "-n",
                "-t", "0.5", "-af", frontend, "--weights", weights)  # fmt: skip
            (data / "chirp_44k_x.npz").rename(data / f"chirp_44k{suffix}_linear.npz")
    rows = {row.name: row for row in verify_references(data, weights) if not row.why}
    assert set(rows) == {"chirp_44k_kapre_linear.npz"}
    assert rows["chirp_44k_kapre_linear.npz"].ok
    assert rows["chirp_44k_kapre_linear.npz"].windows == 3
    told = json.loads(run("verify", "--data", data, "--weights", weights, "--json", fine=False).stdout)
    assert [row["ok"] for row in told].count(True) == 1
    assert not ReferenceResult("x", "y", cosine_min=0.98).ok


def test_help_is_quick_to_read() -> None:
    shown = run("--help").stdout
    for name in ("audio", "image", "video", "convert", "export", "verify"):
        assert name in shown
