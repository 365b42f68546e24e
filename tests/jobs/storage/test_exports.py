"""Layouts of other tools: they hold the rows of the tables, and follow them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from tables import Photos, rows
from tars import write_tar

from percepts.jobs import loop as loop_module
from percepts.jobs.run import embed
from percepts.jobs.workers import worker as worker_module

MODEL = "fake-image"


def in_tables(out: Path) -> dict[str, tuple[float, ...]]:
    return {name: row[3] for (name, _), row in rows(out, MODEL).items()}


def test_the_layout_of_clip_retrieval(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "ROWS_A_PART", 4)
    monkeypatch.setattr(worker_module, "MESSAGE_SECONDS", 0.0)  # or all of it is one message, and one part
    out = tmp_path / "v"
    for count in (10, 13):  # and again when there is more
        embed(photos(count), out, models=[MODEL], workers=0, batch_size=4, formats=("clip-retrieval",))
        folder, found = out / "clip-retrieval" / MODEL, {}
        arrays = sorted((folder / "img_emb").glob("img_emb_*.npy"))
        assert {path.name for path in arrays} == {f"img_emb_{i}.npy" for i in range(len(arrays))} and arrays
        for path in arrays:
            array = np.load(path)
            names = pq.read_table(folder / "metadata" / f"metadata_{path.stem[8:]}.parquet").column("image_path")
            assert array.dtype == np.float32 and len(array) == len(names)
            found |= {
                Path(name).name: tuple(vector.tolist()) for name, vector in zip(names.to_pylist(), array, strict=True)
            }
        assert found == in_tables(out) and len(found) == count


def test_arrays_beside_the_samples_of_a_webdataset(photos: Photos, tmp_path: Path) -> None:
    folder, out = photos(5), tmp_path / "v"
    (folder / "0002.png").write_bytes(b"no picture")
    write_tar(tmp_path / "train-0.tar", folder)
    with tarfile.open(tmp_path / "train-0.tar", "a") as file:
        sound = io.BytesIO()
        soundfile.write(sound, np.full(24_000, 0.1, np.float32), 8000, format="WAV")
        info = tarfile.TarInfo("talk.wav")
        info.size = sound.tell()
        sound.seek(0)
        file.addfile(info, sound)
    models = [MODEL, "fake-audio"]
    embed(tmp_path / "train-0.tar", out, models=models, workers=0, formats=("webdataset",))
    found = samples(out / "webdataset" / MODEL / "train-0.tar")
    assert found.keys() == {"0000.npy", "0001.npy", "0003.npy", "0004.npy"}
    assert {f"train-0.tar!{name[:4]}.png": tuple(array.tolist()) for name, array in found.items()} == in_tables(out)
    (sound_array,) = samples(out / "webdataset" / "fake-audio" / "train-0.tar").values()
    assert sound_array.shape[1:] == (8,) or sound_array.shape == (8,)


def samples(path: Path) -> dict[str, np.ndarray]:
    with tarfile.open(path) as file:
        return {member.name: np.load(io.BytesIO(file.extractfile(member).read())) for member in file}  # type: ignore[union-attr]


def test_a_lance_table_holds_every_row_and_column(photos: Photos, tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb")
    out = tmp_path / "v"
    embed(photos(5), out, models=[MODEL], workers=0, formats=("lance",))
    table = lancedb.connect(out / "lance" / MODEL).open_table(MODEL).to_arrow()
    found = {Path(row["source"]).name: tuple(row["vector"]) for row in table.to_pylist()}
    assert found == in_tables(out)
    assert {"id", "kind", "start", "stop", "labels", "scores", "words"} <= set(table.column_names)


def test_what_is_up_to_date_is_left_alone(photos: Photos, tmp_path: Path) -> None:
    for _ in range(2):
        embed(photos(3), tmp_path / "v", models=[MODEL], workers=0, formats=("clip-retrieval",))
        path = tmp_path / "v" / "clip-retrieval" / MODEL / "img_emb" / "img_emb_0.npy"
        made = path.stat().st_mtime_ns
    assert path.stat().st_mtime_ns == made
