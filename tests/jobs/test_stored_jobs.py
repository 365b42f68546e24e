"""Job directories of earlier releases open, resume, search and repair; tests/make_stored_jobs.py says how they came."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import make_stored_jobs as stored
import numpy as np
import pyarrow.parquet as pq
import pytest
from need_weights import need_weights
from typer.testing import CliRunner

from percepts.cli import app
from percepts.errors import JobError, JobTooNew, PerceptsError, SettingsDiffer
from percepts.jobs.repair import repair
from percepts.jobs.storage.ledger import ABOUT
from percepts.jobs.verify import verify
from percepts.stores.parquet import read_parts, read_specs
from percepts.tasks.search import search

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported anywhere: no test reaches for the hub

RENAMED: dict[str, list[str]] = {}
"""Options of the stored commands that have another name today."""
NEEDS = {"embed-conse": ["effnet-lite0", "minilm"], "diarize": ["ge2e", "silero"]}
"""Weights that a job needs as soon as there is something to do."""
ONE_DIRECTORY = [name for name in stored.JOBS if name != "shards"]
SEVERAL_INPUTS = [name for name in ONE_DIRECTORY if name != "ask"]
OTHERWISE = {
    "embed": (["--fps", "2"], "fps: 1.0 → 2.0"),
    "embed-whole": (["--hop", "0.25"], "hop: 0.5 → 0.25"),
    "embed-formats": (["--tail", "drop"], "tail: 'pad' → 'drop'"),
    "embed-vit": (["--precision", "bfloat16"], r"models\.vit@\w+\.precision: 'float32' → 'bfloat16'"),
    "embed-vit-bfloat16": (["--fps", "3"], "fps"),
    "embed-conse": (["--exact"], "exact: False → True"),
    "classify": (["--top-k", "3"], "top_k: 2 → 3"),
    "zero-shot": (["-l", "green"], "labels"),
    "caption": (["--prefix", "a photo"], "prefix: '' → 'a photo'"),
    "ask": (["--num-beams", "2"], "num_beams: None → 2"),
    "transcribe": (["--word-timestamps"], r"options\.word_timestamps: False → True"),
    "diarize": (["--min-speakers", "2"], r"speakers\.least: 1 → 2"),
}


@pytest.fixture(autouse=True)
def laid_out(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The inputs lie where they lay, and commands name them as they did."""
    monkeypatch.chdir(stored.lay_out())
    yield


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[str], Path]:
    """Give a copy of a stored job directory."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(stored.STORED / "jobs" / name, tmp_path / name))

    return copy


def weights_of(name: str) -> None:
    need_weights(*NEEDS.get(name, []))


def run(name: str, directory: Path, *more: str) -> dict[str, Any]:
    """Run a stored command again, as it is written today, and return its report: some of its files are broken."""
    command = [word for old in stored.JOBS[name] for word in RENAMED.get(old, [old])]
    found = CliRunner().invoke(app, [*command, *more, "-o", str(directory), "--workers", "0", "--json"])
    if isinstance(found.exception, PerceptsError):
        raise found.exception
    assert found.exit_code == 3, found.output
    report: dict[str, Any] = json.loads(found.stdout)
    return report


def rows(directory: Path, *, of: str = "") -> list[dict[str, Any]]:
    """Every row of every model, or those of the sources whose path ends so, in order."""
    found = [
        {"model": model, **row}
        for model in read_specs(directory)
        for batch in read_parts(directory, model)
        for row in batch.to_pylist()
        if row["source"].endswith(of)
    ]
    return sorted(found, key=lambda row: (row["model"], row["source"], row["start"], row["stop"], row["labels"]))


def files(directory: Path) -> dict[str, bytes]:
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*.parquet")}


def one_more(name: str, tmp_path: Path) -> Path:
    """A source that the stored job has not seen."""
    kind = "pictures" if stored.PICTURES[0] in stored.JOBS[name] else "sounds"
    return Path(shutil.copytree(stored.STORED / "more" / kind, tmp_path / "more"))


@pytest.mark.parametrize("name", ONE_DIRECTORY)
def test_it_is_intact(name: str, opened: Callable[[str], Path]) -> None:
    found = verify(opened(name))
    assert found.ok, found.problems
    assert found.counts["error"] >= 1 and found.counts["rows"] >= 1


@pytest.mark.parametrize("name", ONE_DIRECTORY)
def test_the_same_command_has_nothing_to_do(name: str, opened: Callable[[str], Path]) -> None:
    directory = opened(name)
    before, known = files(directory), verify(directory).counts
    report = run(name, directory)
    assert (report["done"], report["failed"]) == (0, 0)
    assert report["unchanged"] == known["ok"] + known["error"]
    assert files(directory) == before
    assert verify(directory).ok


@pytest.mark.parametrize("name", SEVERAL_INPUTS)
def test_one_more_file_gets_the_rows_of_a_new_job(name: str, opened: Callable[[str], Path], tmp_path: Path) -> None:
    weights_of(name)
    directory, more = opened(name), str(one_more(name, tmp_path))
    before = rows(directory)
    report = run(name, directory, more)
    assert (report["done"], report["failed"]) == (1, 0)
    run(name, tmp_path / "new", more)
    new = rows(directory)
    fresh = rows(tmp_path / "new")
    assert [row for row in new if row["source"].startswith(more)] == [
        row for row in fresh if row["source"].startswith(more)
    ]
    assert [row for row in new if not row["source"].startswith(more)] == before
    assert [about(row) for row in new] == [about(row) for row in fresh]
    for row, other in zip(new, fresh, strict=True):
        for numbers in ("vector", "scores"):
            # 1e-4: networks round otherwise on another processor, and in bfloat16 by 2 ** -8
            np.testing.assert_allclose(row.get(numbers) or [], other.get(numbers) or [], rtol=2e-2, atol=1e-4)
    assert verify(directory).ok


def about(row: dict[str, Any]) -> dict[str, Any]:
    """All of a row but the numbers of a network."""
    return {name: value for name, value in row.items() if name not in {"vector", "score", "scores"}}


@pytest.mark.parametrize("name", OTHERWISE)
def test_other_settings_are_refused_by_name(name: str, opened: Callable[[str], Path]) -> None:
    directory = opened(name)
    before = files(directory)
    options, message = OTHERWISE[name]
    with pytest.raises(SettingsDiffer, match=message):
        run(name, directory, *options)
    assert files(directory) == before


@pytest.mark.parametrize("name", ONE_DIRECTORY)
@pytest.mark.parametrize("folder", ["data", "ledger"])
def test_a_part_that_was_cut_is_repaired(name: str, folder: str, opened: Callable[[str], Path]) -> None:
    weights_of(name)
    directory = opened(name)
    before, counts = rows(directory), verify(directory).counts
    part = sorted((directory / folder).rglob("part-*.parquet"))[0]
    os.truncate(part, part.stat().st_size - 10)
    found = CliRunner().invoke(app, ["verify", str(directory), "--repair", "--workers", "0"])
    assert found.exit_code in (0, 3), found.output
    assert verify(directory).ok
    run(name, directory)  # a broken file whose entry is lost is not known any more
    now = verify(directory)
    assert now.ok and {**now.counts, "parts": 0} == {**counts, "parts": 0}
    assert [about(row) for row in rows(directory)] == [about(row) for row in before]


def edit_manifest(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((directory / "manifest.json").read_text())
    change(manifest)
    (directory / "manifest.json").write_text(json.dumps(manifest))


def move_classes(manifest: dict[str, Any]) -> None:
    """Let every class have lived where there is nothing any more."""
    for model in [*manifest["fingerprint"]["models"].values(), *(m["spec"] for m in manifest["models"].values())]:
        if "target" in model:
            model["target"] = "percepts.encoders.gone:Class"


@pytest.mark.parametrize("name", ONE_DIRECTORY)
def test_where_a_class_lived_does_not_matter(name: str, opened: Callable[[str], Path]) -> None:
    weights_of(name)
    directory = opened(name)
    edit_manifest(directory, move_classes)
    assert verify(directory).ok
    assert run(name, directory)["done"] == 0
    part = sorted((directory / "data").rglob("part-*.parquet"))[0]
    os.truncate(part, part.stat().st_size - 10)
    assert repair(directory, workers=0).verdict.ok
    if name.startswith("embed"):
        assert search(directory, image=Path("inputs/pictures/red.png"), k=1)[0].record.source.endswith("red.png")


def test_a_class_that_a_stranger_names_is_not_imported(opened: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')")
    directory = opened("embed-vit")

    def name_it(manifest: dict[str, Any]) -> None:
        for model in manifest["models"].values():
            model["spec"]["target"] = "stranger:Class"

    edit_manifest(directory, name_it)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        assert len(search(directory, image=Path("inputs/pictures/red.png"), k=1)) == 1
        os.truncate(sorted((directory / "data").rglob("*.parquet"))[0], 100)
        assert repair(directory, workers=0).verdict.ok


def test_what_a_release_did_not_know_is_filled_with_what_it_meant(opened: Callable[[str], Path]) -> None:
    directory = opened("embed")

    def forget(manifest: dict[str, Any]) -> None:
        del manifest["fingerprint"]["whole"], manifest["fingerprint"]["tail"]
        for model in manifest["fingerprint"]["models"].values():
            del model["precision"], model["size" if model["kind"] == "audio" else "revision"]

    edit_manifest(directory, forget)
    assert run("embed", directory)["done"] == 0
    assert len(search(directory, "red", model="fake-image", k=1)) == 1
    with pytest.raises(SettingsDiffer, match="tail: 'pad' → 'keep'"):
        run("embed", directory, "--tail", "keep")


def test_a_setting_that_only_the_directory_has_is_not_passed_over(opened: Callable[[str], Path]) -> None:
    directory = opened("embed")
    edit_manifest(directory, lambda manifest: manifest["fingerprint"].update(blur=3))
    with pytest.raises(SettingsDiffer, match="blur: only in the directory"):
        run("embed", directory)


CANNOT: dict[str, tuple[str, Callable[[dict[str, Any]], object], str]] = {
    "other weights": (
        "embed",
        lambda manifest: manifest["fingerprint"]["models"]["fake-image"].update(weights="ab" * 32),
        "models.fake-image.weights",
    ),
    "a model that is gone": (
        "embed",
        lambda manifest: manifest["models"].update(
            {"fake-gone": {"spec": {**manifest["models"]["fake-image"]["spec"], "name": "fake-gone"}}}
        ),
        "no encoder called 'fake-gone'",
    ),
    "a folder that is gone": (
        "caption",
        lambda manifest: manifest["models"]["git@c87db11f"]["spec"].update(weights=["/nowhere/git"]),
        "/nowhere/git is not here any more",
    ),
    "an engine from Python": (
        "transcribe",
        lambda manifest: manifest["fingerprint"]["models"]["fake-ctc"].update(engine="MyEngine"),
        "was given from Python",
    ),
    "voices by name": (
        "diarize",
        lambda manifest: manifest["fingerprint"].update(voices={"Ann": "ab" * 32}),
        "recordings of the known voices",
    ),
    "a newer setting": ("classify", lambda manifest: manifest["fingerprint"].update(blur=3), "blur"),
    "a value of another kind": (
        "embed-whole",
        lambda manifest: manifest["fingerprint"].update(fps="often"),
        "not those of embed",
    ),
}


@pytest.mark.parametrize("why", CANNOT)
def test_what_cannot_be_done_again_is_not_thrown_away(why: str, opened: Callable[[str], Path]) -> None:
    name, change, message = CANNOT[why]
    directory = opened(name)
    edit_manifest(directory, change)
    part = sorted((directory / "data").rglob("part-*.parquet"))[0]
    os.truncate(part, part.stat().st_size - 10)
    before = everything(directory)
    with pytest.raises(JobError, match=message) as caught:
        repair(directory, workers=0)
    assert "nothing was removed" in str(caught.value) and "--overwrite" not in str(caught.value)
    assert everything(directory) == before


def everything(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize("lost", [False, True])
def test_a_newer_release_is_refused_and_left_as_it_is(lost: bool, opened: Callable[[str], Path]) -> None:
    directory = opened("embed")
    (directory / "manifest.json").write_text(
        (directory / "manifest.json").read_text().replace('"schema": 1', '"schema": 9')
    )
    if lost:  # the ledger says it too
        table = pq.read_table(directory / "ledger" / "part-000000.parquet")
        about = json.loads(table.schema.metadata[ABOUT]) | {"schema": 9}
        table = table.replace_schema_metadata({ABOUT: json.dumps(about)})
        pq.write_table(table, directory / "ledger" / "part-000000.parquet", write_page_checksum=True)
        (directory / "manifest.json").unlink()
    before = everything(directory)
    commands = [
        ["verify", "--repair", str(directory)],
        *([] if lost else [["verify", str(directory)], ["search", str(directory), "red"]]),
    ]
    for command in commands:
        found = CliRunner().invoke(app, command)
        assert isinstance(found.exception, JobTooNew) and "layout 9" in str(found.exception), found.output
    if not lost:
        with pytest.raises(JobTooNew):
            run("embed", directory)
    assert everything(directory) == before


def test_text_finds_pictures_and_transcripts(opened: Callable[[str], Path]) -> None:
    weights_of("embed-conse")
    found = search(opened("embed"), "red", model="fake-image", k=1)
    assert [Path(hit.record.source).name for hit in found] == ["red.png"]
    assert len(search(opened("embed-conse"), "a red wall", k=2)) == 2
    assert Path(search(opened("transcribe"), "fellow", k=1)[0].record.source).name == "fellow.flac"
    assert len(search(opened("caption"), "dog", k=2)) == 2


def test_a_picture_finds_its_like_by_a_checkpoint(opened: Callable[[str], Path]) -> None:
    hits = search(opened("embed-vit"), image=Path("inputs/pictures/red.png"), k=1)
    assert [Path(hit.record.source).name for hit in hits] == ["red.png"]


def test_shards_are_merged_and_the_result_goes_on(opened: Callable[[str], Path], tmp_path: Path) -> None:
    directory = opened("shards")
    assert CliRunner().invoke(app, ["merge", str(directory)]).exit_code == 0
    assert verify(directory).ok
    assert [row | {"model": ""} for row in rows(directory)] == [
        row | {"model": ""} for row in rows(opened("embed")) if row["model"] != "melstats"
    ]
    assert run("shards", directory)["unchanged"] == 5
    more = str(one_more("shards", tmp_path))
    shares = [run("shards", directory, more, "--shard", shard) for shard in stored.SHARDS]
    assert sum(share["unchanged"] for share in shares) == 5 and sum(share["done"] for share in shares) == 1
    assert CliRunner().invoke(app, ["merge", str(directory)]).exit_code == 0
    assert verify(directory).ok and len(rows(directory, of="green.png")) == 1
