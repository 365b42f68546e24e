"""Tokens know their grid and their times, in a file too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny  # the tests of encoders have the checkpoints
from PIL import Image
from safetensors import safe_open

from percepts.tasks.tokens import tokens


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens")


def test_patches_of_a_picture_lie_on_their_grid(folder: Path) -> None:
    Image.fromarray(tiny.pictures()[0]).save(folder / "a.png")
    found = tokens(folder / "a.png", str(tiny.vit(folder / "vit")))
    assert (found.axes, found.shape, found.data.shape) == (("row", "column"), (4, 4), (1, 17, 32))
    assert found.mask[0].tolist() == [False] + [True] * 16
    assert not found.times.any()


def test_frames_of_a_long_recording_have_the_times_of_their_windows(folder: Path) -> None:
    sound = tiny.sounds()[0]
    soundfile.write(folder / "a.wav", np.tile(sound, 2)[:50_000], 16_000)  # 3.125 s, windows of 2 s
    found = tokens(folder / "a.wav", str(tiny.whisper(folder / "whisper")))
    assert found.start.tolist() == [0.0, 2.0] and found.stop.tolist() == [2.0, 3.125]
    assert found.mask.sum(axis=1).tolist() == [100, 57]  # 1.125 s is 56.25 steps of 20 ms
    np.testing.assert_allclose(found.times[1, :3], [2.0, 2.02, 2.04])


def test_patches_of_ast_have_the_time_of_their_column(folder: Path) -> None:
    found = tokens(folder / "a.wav", str(tiny.ast(folder / "ast")))
    assert (found.axes, found.shape) == (("band", "time"), (12, 19))
    times = found.times[1, 2:].reshape(12, 19)
    np.testing.assert_allclose(times, np.tile(2.0 + 0.1 * np.arange(19), (12, 1)))


def test_colours_are_whole_numbers(folder: Path) -> None:
    found = tokens(folder / "a.png", str(tiny.imagegpt(folder / "imagegpt")))
    assert found.data.dtype == np.int64 and found.data.shape == (1, 64) and found.shape == (8, 8)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_what_is_saved_is_what_was_found(suffix: str, folder: Path, tmp_path: Path) -> None:
    found = tokens(folder / "a.png", str(tiny.vit(folder / "vit")))
    path = tmp_path / f"a{suffix}"
    found.save(path)
    if suffix == ".npz":
        with np.load(path) as file:
            data, shape = file["data"], str(file["shape"])
    else:
        with safe_open(path, "np") as file:
            data, shape = file.get_tensor("data"), file.metadata()["shape"]
    assert np.array_equal(data, found.data) and shape == "4,4"


def test_another_ending_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.npz or \.safetensors, got 'a\.csv'"):
        tokens(folder / "a.png", str(tiny.vit(folder / "vit"))).save(tmp_path / "a.csv")
