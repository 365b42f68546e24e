"""An encoder as a function of rows: datasets, webdataset, PyTorch; bad rows cost no others; hashed alike."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import synth
import torch
from PIL import Image

import percepts
from percepts.tasks.embed import embed_iter
from percepts.tasks.pooling import pool_windows

datasets = pytest.importorskip("datasets")
RGB = {"red": (255, 0, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("rows")
    for name, colour in RGB.items():
        Image.new("RGB", (20, 16), colour).save(made / f"{name}.png")
    (made / "bad.png").write_bytes(b"no picture")
    soundfile.write(made / "noise.wav", synth.noise(8_000, 2.5)[0], 8_000)
    return made


def rows(folder: Path) -> datasets.Dataset:
    names = ["red", "bad", "blue"]
    return datasets.Dataset.from_dict({"image": [str(folder / f"{name}.png") for name in names], "n": [0, 1, 2]})


def vector(path: Path) -> np.ndarray:
    found = pool_windows(embed_iter(path, "fake-image")).vector
    assert found is not None
    return found


def test_a_dataset_makes_its_vectors_when_they_are_looked_at(folder: Path) -> None:
    data = rows(folder)
    data.set_transform(percepts.datasets_transform("fake-image"))
    np.testing.assert_array_equal(data[0]["vector"], vector(folder / "red.png"))
    batch = data[:3]
    assert batch["n"] == [0, 1, 2] and batch["vector"][1] is None
    assert batch["error"][0] == "" and "NotMedia" in batch["error"][1] and "bad.png" in batch["error"][1]


def test_map_gives_the_same_and_finds_it_again(folder: Path, tmp_path: Path) -> None:
    data, made = rows(folder), percepts.datasets_transform("fake-image")
    once = data.map(made, batched=True, batch_size=2, cache_file_name=str(tmp_path / "a.arrow"))
    assert once["vector"][1] is None and once["error"][2] == ""
    np.testing.assert_array_equal(once.with_format("numpy")[2]["vector"], vector(folder / "blue.png"))
    assert made.features(data.features)["vector"].feature.dtype == "float32"


def test_a_batch_equals_its_rows_one_by_one(folder: Path) -> None:
    made, paths = percepts.datasets_transform("fake-image", batch_size=2), [str(folder / f"{name}.png") for name in RGB]
    together = made({"image": paths})["vector"]
    for path, found in zip(paths, together, strict=True):
        np.testing.assert_array_equal(found, made.item(path))
        np.testing.assert_array_equal(found, made.sample({"image": path, "n": 1})["vector"])


def test_it_is_pickled_and_hashed_alike_before_and_after_use(folder: Path) -> None:
    from datasets.fingerprint import Hasher

    made, other = percepts.datasets_transform("fake-image"), percepts.datasets_transform("fake-image", fps=2.0)
    before = Hasher.hash(made)
    made.item(folder / "red.png")
    assert Hasher.hash(made) == before == Hasher.hash(percepts.datasets_transform("fake-image")) != Hasher.hash(other)
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.item(folder / "red.png"), made.item(folder / "red.png"))


def test_a_medium_may_come_in_any_of_the_usual_forms(folder: Path) -> None:
    made, path = percepts.datasets_transform("fake-image"), folder / "red.png"
    pixels = np.asarray(Image.open(path))
    forms = [path, path.read_bytes(), Image.open(path), pixels, pixels / 255,
             {"bytes": path.read_bytes(), "path": None}, {"bytes": None, "path": str(path)}]  # fmt: skip
    for form in forms:
        np.testing.assert_array_equal(made.item(form), vector(path))
    sound, (samples, _) = percepts.datasets_transform("fake-audio"), soundfile.read(folder / "noise.wav")
    expected = pool_windows(embed_iter(folder / "noise.wav", "fake-audio")).vector
    np.testing.assert_allclose(sound.item({"array": samples, "sampling_rate": 8_000}), expected, atol=1e-6)
    np.testing.assert_array_equal(sound.item(folder / "noise.wav"), expected)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (None, "got None"),
        (np.full((4, 4, 3), 7.0), r"floats in \[0, 1\].* 7.0"),
        (np.zeros((3, 4, 5), np.uint8), r"shape \(3, 4, 5\)"),
        ({"array": np.zeros(900), "sampling_rate": 8_000}, "is audio; expected image"),
    ],
)
def test_what_is_no_picture_is_an_error_that_says_so(item: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        percepts.datasets_transform("fake-image").item(item)


def test_a_column_that_is_not_there_is_an_error_that_says_which_are() -> None:
    with pytest.raises(KeyError, match=r"expected a column 'image'.*got pixels"):
        percepts.datasets_transform("fake-image")({"pixels": []})
    with pytest.raises(KeyError, match="'photo'"):
        percepts.datasets_transform("fake-image", column="photo")({"image": []})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its shards open
def test_webdataset_reads_its_own_names(folder: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for name in ("red", "bad", "blue"):
            data = (folder / f"{name}.png").read_bytes()
            info = tarfile.TarInfo(f"{name}.png")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    made = percepts.datasets_transform("fake-image")
    found = list(webdataset.WebDataset(str(tmp_path / "shard.tar"), shardshuffle=False).map(made.sample))
    assert [row["__key__"] for row in found] == ["red", "bad", "blue"]
    np.testing.assert_array_equal(found[0]["vector"], vector(folder / "red.png"))
    assert found[1]["vector"] is None and "NotMedia" in found[1]["error"]


def test_a_pytorch_dataset_takes_it_as_its_transform(folder: Path) -> None:
    class Photos(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __init__(self, paths, transform):
            self.paths, self.transform = paths, transform

        def __len__(self):
            return len(self.paths)

        def __getitem__(self, index):
            return self.transform(Image.open(self.paths[index]))

    made = percepts.datasets_transform("fake-image")
    loader = torch.utils.data.DataLoader(Photos([folder / f"{name}.png" for name in RGB], made.item), batch_size=3)
    (batch,) = list(loader)
    assert batch.shape == (3, 8) and batch.dtype == torch.float32
    np.testing.assert_array_equal(batch[1].numpy(), vector(folder / "blue.png"))
