"""Parquet parts: what goes in comes out, whole or not at all."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from show import show
from toyjob import write_manifest

from percepts.errors import JobDamaged, JobError
from percepts.stores import parquet
from percepts.types import Record, Segment, Spec

SPEC = Spec(name="toy", target="toy:Toy", kind="image", dim=4, pool="mean", weights=("a", "b"), license="MIT")


def row(number: int, **changes) -> parquet.Row:
    vector = np.arange(4, dtype=np.float32) + number / 3
    settings = {"vector": vector, "labels": ("cup", "naïve"), "text": None} | changes
    return parquet.Row(
        f"{number:064x}", Record(f"a b/{number}'.jpg", number / 7, number / 7 + 1, "toy", "image", **settings)
    )


def same(a: Record, b: Record) -> bool:
    rest = ("source", "start", "stop", "model", "kind", "labels", "text", "box")
    vectors = (a.vector is None and b.vector is None) or np.array_equal(a.vector, b.vector)
    return vectors and all(getattr(a, name) == getattr(b, name) for name in rest)


def manifest(folder: Path, **parts: list[parquet.PartInfo]) -> None:
    numbers = range(max((len(infos) for infos in parts.values()), default=0))
    listed = [{m: i[n] for m, i in parts.items() if n < len(i)} for n in numbers]
    write_manifest(folder, {name: replace(SPEC, name=name) for name in parts}, listed)


def test_rows_come_back_as_they_went_in(tmp_path):
    rows = [row(0), row(1, vector=None, text="x\ny", box=(1.0, 2.5, 30.0, 40.0)), row(2, labels=())]
    info = parquet.write_part(tmp_path / "data/toy/part-000000.parquet", rows, SPEC, root=tmp_path)
    manifest(tmp_path, toy=[info])
    back = [record for batch in parquet.read_parts(tmp_path, "toy") for record in parquet.batch_records(batch, "toy")]
    assert len(back) == 3 and all(same(a.record, b) for a, b in zip(rows, back, strict=True))
    ids = [i for batch in parquet.read_parts(tmp_path, "toy", ["id"]) for i in batch["id"].to_pylist()]
    assert ids == [r.id for r in rows]


def test_a_part_is_described_by_its_bytes_and_carries_its_provenance(tmp_path):
    path = tmp_path / "data/toy/part-000000.parquet"
    info = parquet.write_part(path, [row(0)], SPEC, {"job.weights": "sha"}, root=tmp_path)
    assert info == parquet.PartInfo(
        "data/toy/part-000000.parquet", 1, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    )
    metadata = pq.read_schema(path).metadata
    assert metadata[b"percepts.model"] == b"toy" and metadata[b"job.weights"] == b"sha"
    assert json.loads(metadata[b"percepts.spec"])["dim"] == 4


def test_the_same_rows_give_the_same_bytes(tmp_path):
    rows = [row(n) for n in range(100)]
    a, b = (parquet.write_part(tmp_path / name, rows, SPEC) for name in ("a", "b"))
    assert a.sha256 == b.sha256


def test_a_writer_that_fails_leaves_the_old_part_and_no_other_file(tmp_path, monkeypatch):
    path = tmp_path / "p.parquet"
    parquet.write_part(path, [row(0)], SPEC)
    before = path.read_bytes()
    monkeypatch.setattr(
        "percepts.support.files.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(OSError, match="No space"):
        parquet.write_part(path, [row(1)], SPEC)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("vector", [np.zeros(3, np.float32), np.array([0, 0, 0, np.nan], np.float32)])
def test_what_is_no_vector_of_this_model_is_refused_by_the_name_of_its_source(vector, tmp_path):
    with pytest.raises(ValueError, match=r"a b/7'.jpg at 1.0 s: expected 4 finite numbers"):
        parquet.write_part(tmp_path / "p", [row(7, vector=vector)], SPEC)
    assert not list(tmp_path.iterdir())


def test_only_what_the_manifest_lists_counts(tmp_path):
    first = parquet.write_part(tmp_path / "data/toy/part-000000.parquet", [row(0)], SPEC, root=tmp_path)
    parquet.write_part(tmp_path / "data/toy/part-000001.parquet", [row(1)], SPEC, root=tmp_path)
    manifest(tmp_path, toy=[first], other=[])
    assert parquet.committed_files(tmp_path) == {"toy": [tmp_path / "data/toy/part-000000.parquet"], "other": []}
    assert parquet.read_specs(tmp_path)["toy"] == SPEC


def test_a_folder_without_a_manifest_says_how_to_make_one(tmp_path):
    with pytest.raises(JobError, match="percepts embed SOURCES -o"):
        parquet.committed_files(tmp_path)
    with pytest.raises(JobError, match="percepts embed SOURCES -o"):
        parquet.committed_files(tmp_path / "absent")


@pytest.mark.parametrize("text", ["{", "[]", '{"models": {}}', '{"models": {"a": {}}, "parts": [{"data": {"a": {}}}]}'])
def test_a_broken_manifest_is_called_damaged(text, tmp_path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(JobDamaged, match=r"manifest\.json"):
        parquet.list_parts(tmp_path)


def test_a_part_that_is_gone_or_cut_is_called_damaged(tmp_path):
    info = parquet.write_part(
        tmp_path / "data/toy/part-000000.parquet", [row(n) for n in range(50)], SPEC, root=tmp_path
    )
    manifest(tmp_path, toy=[info])
    data = (tmp_path / "data/toy/part-000000.parquet").read_bytes()
    (tmp_path / "data/toy/part-000000.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(JobDamaged, match=r"part-000000\.parquet"):
        list(parquet.read_parts(tmp_path, "toy"))
    (tmp_path / "data/toy/part-000000.parquet").unlink()
    with pytest.raises(JobDamaged, match=r"part-000000\.parquet"):
        list(parquet.read_parts(tmp_path, "toy"))


def test_a_model_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    manifest(tmp_path, toy=[])
    with pytest.raises(JobError, match="no vectors of 'tow'; there are: toy"):
        list(parquet.read_parts(tmp_path, "tow"))


def test_a_part_from_before_there_were_scores_and_words_is_still_read(tmp_path: Path) -> None:
    spec = Spec(name="toy", target="toy:Toy", kind="image", dim=2, pool="mean", license="MIT")
    row = parquet.Row("id", Record("a.png", 0.0, 0.0, "toy", "image", np.ones(2, np.float32), ("cup",)))
    old = parquet.build_table([row], spec).drop_columns(["scores", "score", "speaker", "words"])
    parquet.write_table(tmp_path / "part.parquet", old)
    (batch,) = parquet.read_part(tmp_path / "part.parquet")
    (record,) = parquet.batch_records(batch, "toy")
    assert (record.labels, record.scores, record.score, record.words) == (("cup",), (), None, ())


def test_a_table_without_vectors_has_no_column_for_them() -> None:
    spec = Spec(name="toy", target="toy:Toy", kind="audio", license="MIT")
    word = Segment(0.0, 0.5, "so", score=0.25)
    record = Record("a.wav", 0.0, 1.0, "toy", "audio", text="so it", score=0.5, speaker="Ann", words=(word,))
    table = parquet.build_table([parquet.Row("id", record)], spec)
    assert "vector" not in table.column_names
    (back,) = parquet.batch_records(table.to_batches()[0], "toy")
    assert show(back) == show(record)


def test_a_flipped_bit_is_an_error_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data/toy/part-000000.parquet"
    parquet.write_part(path, [row(n) for n in range(30)], SPEC)
    good = path.read_bytes()
    (expected,) = parquet.read_part(path)
    footer = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    found = set()
    for i in range(0, len(good), 7):
        path.write_bytes(good[:i] + bytes([good[i] ^ 1 << i % 8]) + good[i + 1 :])
        try:
            (batch,) = parquet.read_part(path)
        except JobDamaged as error:
            assert f"{path}: cannot be read" in str(error)
            assert f"`percepts verify {tmp_path} --repair`" in str(error)
            found.add("damaged")
        else:  # in the names of columns no release needs, in provenance, in a part of the header nobody reads
            assert batch.equals(expected) or i >= footer
            found.add("same")
    assert found == {"damaged", "same"}


@pytest.mark.parametrize("column", ["id", "source", "kind", "start", "stop", "vector", "labels", "text"])
def test_a_part_without_a_column_that_all_releases_wrote_is_damaged(tmp_path: Path, column: str) -> None:
    path = tmp_path / "part.parquet"
    parquet.write_table(path, parquet.build_table([row(0)], SPEC).drop_columns([column]))
    with pytest.raises(JobDamaged, match=f"column '{column}'"):
        list(parquet.read_part(path, ["source", "vector"]))
