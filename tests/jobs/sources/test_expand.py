"""Whatever names the sources, and whatever holds them: the rows are those of the files themselves."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import Photos, ledger, rows
from tars import write_tar

from percepts.jobs.run import embed
from percepts.jobs.verify import verify

MODEL = "fake-image"


def vectors(inputs: object, out: Path, workers: int = 0, **more: object) -> list[tuple[float, ...]]:
    embed(inputs, out, models=[MODEL], workers=workers, **more)  # type: ignore[arg-type]
    assert verify(out).ok
    return sorted(row[3] for row in rows(out, MODEL).values())


@pytest.fixture
def folder(photos: Photos) -> Path:
    return photos(6)


@pytest.fixture
def expected(folder: Path, tmp_path: Path) -> list[tuple[float, ...]]:
    return vectors(folder, tmp_path / "expected")


def test_patterns(folder: Path, expected: list[object], tmp_path: Path) -> None:
    (folder / "notes.txt").write_text("no picture")
    assert vectors(str(folder / "*.png"), tmp_path / "v") == expected
    assert vectors(str(tmp_path / "**" / "000[0-2].png"), tmp_path / "w") == vectors(
        [folder / f"000{i}.png" for i in range(3)], tmp_path / "x"
    )
    with pytest.raises(FileNotFoundError, match=r"\*\.gif"):
        embed(str(folder / "*.gif"), tmp_path / "y", models=[MODEL])
    odd = folder / "a[1].png"
    odd.write_bytes((folder / "0000.png").read_bytes())
    assert len(vectors(odd, tmp_path / "z")) == 1  # a file of that very name is no pattern


@pytest.mark.parametrize("column", ["uri", "path"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_lists(folder: Path, expected: list[object], tmp_path: Path, kind: str, column: str) -> None:
    names = [path.name if i % 2 else str(path) for i, path in enumerate(sorted(folder.iterdir()))]
    path = folder / f"list.{kind}"  # relative names begin at the list
    if kind == "parquet":
        pq.write_table(pa.table({"caption": ["a"] * 6, column: names}), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"n": 1, column: name}) + "\n" for name in names))
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="," if kind == "csv" else "\t")
            writer.writerows([["n", column], *(["1", name] for name in names)])
    assert vectors(path, tmp_path / "v") == expected


def test_a_list_without_a_column_of_names_says_what_it_has(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file,label\na.png,1\n")
    report = embed(tmp_path / "list.csv", tmp_path / "v", models=[MODEL], workers=0)
    assert report.failed == 1
    assert "expected a column uri or path or url, got file, label" in ledger(tmp_path / "v")["list.csv"]["message"]


def test_names_on_standard_input(folder: Path, expected: list[object], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "percepts.cli", "embed", "-", "-o", str(tmp_path / "v"), "-m", MODEL]
    names = "".join(f"{path}\n" for path in folder.iterdir())
    subprocess.run([*command, "--workers", "0"], input=names, text=True, check=True, capture_output=True)
    assert sorted(row[3] for row in rows(tmp_path / "v", MODEL).values()) == expected


def saved_dataset(path: Path, folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    paths = [str(picture) for picture in sorted(folder.glob("*.png"))]
    with_bytes = [{"bytes": Path(name).read_bytes(), "path": None} for name in paths]
    features = datasets.Features({"image": datasets.Image(decode=False), "n": datasets.Value("int64")})
    rows = {"image": with_bytes, "n": list(range(len(paths)))}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(path), num_shards=2)


def parquet(path: Path, folder: Path) -> None:
    """As the hub keeps datasets, in several row groups."""
    cells = [{"bytes": picture.read_bytes(), "path": picture.name} for picture in sorted(folder.glob("*.png"))]
    pq.write_table(pa.table({"image": cells, "label": list(range(len(cells)))}), path, row_group_size=4)


CONTAINERS = {"shard.tar": write_tar, "train.parquet": parquet, "dataset": saved_dataset}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of datasets, where it is imported
def test_what_holds_many_sources(folder: Path, expected: list[object], tmp_path: Path, name: str) -> None:
    CONTAINERS[name](tmp_path / name, folder)
    assert vectors(tmp_path / name, tmp_path / "v", workers=1 if name == "shard.tar" else 0) == expected
    assert embed(tmp_path / name, tmp_path / "v", models=[MODEL], workers=0).unchanged == 6


@pytest.mark.parametrize("name", ["shard.tar", "train.parquet"])
def test_a_bad_member_costs_only_itself_and_a_grown_container_only_what_is_new(
    photos: Photos, folder: Path, tmp_path: Path, name: str
) -> None:
    (folder / "0002.png").write_bytes(b"no picture")
    CONTAINERS[name](tmp_path / name, folder)
    report = embed(tmp_path / name, tmp_path / "v", models=[MODEL], workers=0)
    assert (report.done, report.failed) == (5, 1)
    bad = next(uri for uri, entry in ledger(tmp_path / "v").items() if entry["status"] == "error")
    assert bad in ("shard.tar!0002.png", "2")
    (folder / "0009.png").write_bytes((folder / "0001.png").read_bytes())
    CONTAINERS[name](tmp_path / name, folder)
    more = embed(tmp_path / name, tmp_path / "v", models=[MODEL], workers=0)
    assert (more.done, more.unchanged, more.failed) == (1, 6, 0)  # the bad one has not changed either
    assert verify(tmp_path / "v").ok


def test_a_container_that_is_none_is_named(tmp_path: Path) -> None:
    for name in ("shard.tar", "train.parquet"):
        (tmp_path / name).write_bytes(b"neither")
        assert embed(tmp_path / name, tmp_path / "v", models=[MODEL], workers=0).failed == 1
        assert ledger(tmp_path / "v")[name]["stage"] == "fetch"


def test_a_list_that_grows_between_runs(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    names = [json.dumps({"uri": str(name)}) + "\n" for name in sorted(folder.iterdir())]
    path.write_text("".join(names[:4]))
    assert embed(path, tmp_path / "v", models=[MODEL], workers=0).done == 4
    path.write_text("".join(names))
    again = embed(path, tmp_path / "v", models=[MODEL], workers=0)
    assert (again.done, again.unchanged) == (2, 4)


@pytest.fixture
def memory(folder: Path) -> Iterator[str]:
    """The pictures in fsspec's own store, which lives in this process."""
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for path in folder.iterdir():
        system.pipe(f"/bucket/photos/{path.name}", path.read_bytes())
    yield "memory://bucket/photos"
    system.rm("/bucket", recursive=True)


def test_an_object_store(memory: str, expected: list[object], tmp_path: Path) -> None:
    assert vectors(memory, tmp_path / "v") == expected
    assert len(vectors(f"{memory}/000[01].png", tmp_path / "w")) == 2
    assert embed(memory, tmp_path / "v", models=[MODEL], workers=0).unchanged == 6
