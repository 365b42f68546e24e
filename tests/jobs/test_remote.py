"""Object stores, against a server that speaks S3."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tables import Photos, ledger, rows
from typer.testing import CliRunner

import percepts
from percepts.cli import app
from percepts.errors import JobDamaged, JobLocked, MissingExtra, SettingsDiffer
from percepts.jobs.merge import merge
from percepts.jobs.repair import repair
from percepts.jobs.run import embed
from percepts.jobs.storage.directory import DirectoryLock
from percepts.jobs.verify import verify
from percepts.stores import remote as remote_module

MODEL = "fake-image"
pytestmark = pytest.mark.filterwarnings("ignore")  # of the server and of botocore


@pytest.fixture
def bucket(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of its own, in whose photos/ are six pictures, one of them none."""
    server_module = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for variable, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():  # fmt: skip
        monkeypatch.setenv(variable, value)
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    name = f"percepts-{uuid.uuid4()}"
    system.mkdir(name)
    folder = photos(6)
    (folder / "0003.png").write_bytes(b"no picture")
    for path in folder.iterdir():
        system.pipe(f"{name}/photos/{path.name}", path.read_bytes())
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_pictures_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    report = embed(f"{bucket}/photos/", tmp_path / "v", models=[MODEL], workers=1)
    assert (report.done, report.failed) == (5, 1)
    assert ledger(tmp_path / "v")["0003.png"]["stage"] == "probe"
    local = embed(tmp_path / "photos", tmp_path / "w", models=[MODEL], workers=0)
    assert local.done == 5
    assert rows(tmp_path / "v", MODEL) == rows(tmp_path / "w", MODEL)
    again = embed(f"{bucket}/photos/*.png", tmp_path / "v", models=[MODEL], workers=0)
    assert (again.done, again.unchanged) == (0, 6)
    gone = embed([f"{bucket}/photos/gone.png"], tmp_path / "v", models=[MODEL], workers=0)
    assert gone.failed == 1 and ledger(tmp_path / "v")["gone.png"]["error"] == "FileNotFoundError"
    assert verify(tmp_path / "v").ok


def test_a_job_directory_in_a_bucket(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "user_cache_path", lambda name: tmp_path / "cache")
    photos, out = tmp_path / "photos", f"{bucket}/vectors"
    embed(sorted(photos.iterdir())[:4], out, models=[MODEL], workers=0)
    shutil.rmtree(tmp_path / "cache")  # another machine goes on
    report = embed(photos, out, models=[MODEL], workers=0, formats=("jsonl",))
    assert (report.done, report.unchanged, report.place) == (2, 4, out)
    verdict = verify(out)
    assert verdict.ok and (verdict.counts["ok"], verdict.counts["error"]) == (5, 1)
    embed(photos, tmp_path / "w", models=[MODEL], workers=0)
    assert rows(verdict.directory, MODEL) == rows(tmp_path / "w", MODEL)
    names = {name.partition("vectors/")[2] for name in s3fs_names(out)}
    assert {"manifest.json", "stats.json"} <= names and any(name.startswith("jsonl/") for name in names)
    with pytest.raises(SettingsDiffer, match="fps"):
        embed(photos, out, models=[MODEL], fps=2.0, workers=0)


def test_an_upload_that_fails_leaves_the_state_before(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_module, "user_cache_path", lambda name: tmp_path / "cache")
    photos, out = tmp_path / "photos", f"{bucket}/vectors"
    embed(sorted(photos.iterdir())[:3], out, models=[MODEL], workers=0)
    put = remote_module.RemoteDirectory._upload

    def failing(self: remote_module.RemoteDirectory, name: str) -> None:
        if name == "manifest.json":
            raise ConnectionError("the line is cut")
        put(self, name)

    with monkeypatch.context() as cut:
        cut.setattr(remote_module.RemoteDirectory, "_upload", failing)
        with pytest.raises(ConnectionError):
            embed(photos, out, models=[MODEL], workers=0)
    verdict = verify(out)
    assert verdict.counts["rows"] == 3 and not [p for p in verdict.problems if "orphan" not in p]
    assert embed(photos, out, models=[MODEL], workers=0).unchanged == 3
    assert verify(out).ok


@pytest.mark.parametrize("store", ["s3", "memory"])
def test_shares_damage_and_search_in_a_store(
    store: str, photos: Photos, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"memory://{uuid.uuid4()}" if store == "memory" else request.getfixturevalue("bucket")
    monkeypatch.setattr(remote_module, "user_cache_path", lambda name: tmp_path / "cache")
    folder, out = photos(12, red=(3,)), f"{place}/v"
    for number in (1, 2):
        embed(folder, out, models=[MODEL], workers=0, shard=(number, 2))
    shutil.rmtree(tmp_path / "cache")
    told = CliRunner().invoke(app, ["merge", out]).stdout + CliRunner().invoke(app, ["verify", out]).stdout
    assert told.startswith(f"{out}: 12 files") and f"\n{out}: intact (12 ok" in told
    assert percepts.search(out, "red")[0].record.source == str(folder / "0003.png")

    system, path = remote_module.open_filesystem(out)
    part = next(name for name in system.find(f"{path}/data"))
    system.pipe_file(part, system.cat_file(part)[:-9] + bytes(9))  # the copy here is as it was
    assert any("sha256 differs" in problem for problem in verify(out).problems)
    mended = repair(out, workers=0)
    assert mended.verdict.ok and len(mended.files) == 1 and mended.report is not None
    system.rm_file(f"{path}/manifest.json")
    assert repair(out, workers=0).verdict.ok
    shutil.rmtree(tmp_path / "cache")
    embed(folder, tmp_path / "whole", models=[MODEL], workers=0)
    assert rows(verify(out).directory, MODEL) == rows(tmp_path / "whole", MODEL)


@pytest.mark.parametrize(("scheme", "cure"), [("gs", "gcsfs"), ("az", "adlfs"), ("hf", "huggingface_hub")])
def test_a_driver_that_is_not_installed_is_named_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, cure: str
) -> None:
    monkeypatch.setitem(sys.modules, cure, None)
    with pytest.raises(MissingExtra, match=f"pip install {cure}"):
        embed(f"{scheme}://bucket/photos/", tmp_path / "v", models=[MODEL], workers=0)
    with pytest.raises(MissingExtra, match=f"pip install {cure}"):
        verify(f"{scheme}://bucket/vectors")


@pytest.fixture(params=["s3", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty store; copies are kept in tmp_path/cache."""
    monkeypatch.setattr(remote_module, "user_cache_path", lambda name: tmp_path / "cache")
    return f"memory://{uuid.uuid4()}" if request.param == "memory" else request.getfixturevalue("bucket")


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


READERS: dict[str, Callable[[str], object]] = {
    "verify": verify,
    "search": lambda url: percepts.search(url, "red"),
    "repair": lambda url: repair(url, workers=0),
    "merge": merge,
}


@pytest.mark.parametrize("reader", ["verify", "search", "repair"])
@pytest.mark.parametrize(
    ("store", "name"),
    [
        ("s3", "../../victim"),
        ("memory", "/absolute"),
        ("memory", "data/../../../victim"),
        ("memory", "data\\x"),
        ("memory", "data/toy/part-000000.parquet\0"),
    ],
    indirect=["store"],
    ids=ascii,
)
def test_a_name_in_the_manifest_of_a_stranger_is_written_nowhere(
    store: str, photos: Photos, tmp_path: Path, name: str, reader: str
) -> None:
    out = f"{store}/v"
    embed(photos(3), out, models=[MODEL], workers=0)
    system, path = remote_module.open_filesystem(out)
    name = f"{tmp_path}/victim" if name == "/absolute" else name
    manifest = json.loads(system.cat_file(f"{path}/manifest.json"))
    info = {"name": name, "rows": 0, "bytes": 4, "sha256": hashlib.sha256(b"evil").hexdigest()}
    manifest["parts"].append({"number": 1, "data": {MODEL: info}, "ledger": None})
    manifest["next_part"] = 2
    system.pipe_file(f"{path}/manifest.json", json.dumps(manifest).encode())
    if "\0" not in name:
        system.pipe_file(f"{path}/{name}", b"evil")
    before = everything(tmp_path / "photos")
    if reader == "repair":  # makes the manifest again, from what is there
        assert READERS[reader](out).verdict.ok  # type: ignore[attr-defined]
    else:
        with pytest.raises(JobDamaged, match=r"v/manifest\.json: parts\[1\].*name"):
            READERS[reader](out)
    assert everything(tmp_path / "photos") == before
    assert b"evil" not in everything(tmp_path).values() and not list(tmp_path.rglob("*victim*"))


@pytest.mark.parametrize(
    ("store", "key"),
    [
        ("s3", "../../../../.zshrc"),
        *(("memory", key) for key in ("toy/x.parquet", "toy/../../x", "a\\b", "toy/part-000000.parquet.tmp")),
    ],
    indirect=["store"],
)
def test_a_key_that_is_no_part_is_neither_written_here_nor_taken_away_there(
    store: str, photos: Photos, tmp_path: Path, key: str
) -> None:
    out = f"{store}/v"
    embed(photos(3), out, models=[MODEL], workers=0)
    system, path = remote_module.open_filesystem(out)
    system.pipe_file(f"{path}/data/{key}", b"evil")
    assert verify(out).ok
    embed(photos(4), out, models=[MODEL], workers=0)
    assert system.cat_file(f"{path}/data/{key}") == b"evil"
    assert b"evil" not in everything(tmp_path).values()


@pytest.mark.parametrize("harm", ["cut", "longer", "changed", "gone"])
def test_a_download_that_is_not_what_was_written_gets_no_name(
    store: str, photos: Photos, tmp_path: Path, harm: str
) -> None:
    out = f"{store}/v"
    embed(photos(3), out, models=[MODEL], workers=0)
    shutil.rmtree(tmp_path / "cache")
    system, path = remote_module.open_filesystem(out)
    part = next(name for name in system.find(f"{path}/data"))
    data = system.cat_file(part)
    if harm == "gone":
        system.rm_file(part)
    else:
        harmed = {"cut": data[:-9], "longer": data + b"x", "changed": data[:-9] + bytes(9)}[harm]
        system.pipe_file(part, harmed)
    with pytest.raises(JobDamaged, match="percepts verify"):
        percepts.search(out, "red")
    with pytest.raises(JobDamaged, match="percepts verify"):
        embed(photos(3), out, models=[MODEL], workers=0)
    assert not list((tmp_path / "cache").rglob("data/*/*"))
    assert not verify(out).ok and repair(out, workers=0).verdict.ok
    assert percepts.search(out, "red")


@pytest.mark.parametrize("reader", ["verify", "search"])
def test_a_reader_in_the_middle_of_a_commit_harms_no_run(
    store: str, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    folder, out = photos(6), f"{store}/v"
    files = sorted(folder.iterdir())
    embed(files[:2], out, models=[MODEL], workers=0)
    push, seen = remote_module.RemoteDirectory.push, []

    def meanwhile(self: remote_module.RemoteDirectory, new: set[str], gone: set[str]) -> None:
        seen.append(READERS[reader](out))  # after the parts were written here, before they are there
        push(self, new, gone)
        seen.append(READERS[reader](out))

    with monkeypatch.context() as forced:
        forced.setattr(remote_module.RemoteDirectory, "push", meanwhile)
        assert embed(files, out, models=[MODEL], workers=0).done == 4
    assert len(seen) >= 2 and verify(out).ok
    embed(folder, tmp_path / "w", models=[MODEL], workers=0)
    assert rows(verify(out).directory, MODEL) == rows(tmp_path / "w", MODEL)


def test_what_a_reader_holds_stays_while_the_directory_is_made_anew(store: str, photos: Photos, tmp_path: Path) -> None:
    out = f"{store}/v"
    embed(photos(5), out, models=[MODEL], workers=0)
    first = remote_module.make_local_copy(out)
    before, found = everything(first), rows(first, MODEL)
    embed(sorted(photos(5).iterdir())[:2], out, models=[MODEL], workers=0, overwrite=True)  # the same names of parts
    second = remote_module.make_local_copy(out)
    assert len(rows(second, MODEL)) == 2 and rows(first, MODEL) == found
    assert {name: data for name, data in everything(first).items() if name in before} == before


def test_a_second_run_that_is_refused_has_touched_nothing(store: str, photos: Photos, tmp_path: Path) -> None:
    folder, out = photos(3), f"{store}/v"
    embed(folder, out, models=[MODEL], workers=0)
    copy = remote_module.RemoteDirectory(out).copy
    with DirectoryLock(copy):
        (copy / "data/half").write_bytes(b"")
        before = everything(copy)
        with pytest.raises(JobLocked):
            embed(folder, out, models=[MODEL], workers=0)
        assert everything(copy) == before


def s3fs_names(url: str) -> list[str]:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    return list(s3fs.S3FileSystem().find(url))


def test_a_url_that_was_a_path_is_still_one() -> None:
    assert (
        remote_module.remote_url(Path("s3://bucket/a/b"))
        == remote_module.remote_url("s3://bucket/a/b")
        == "s3://bucket/a/b"
    )
    assert remote_module.remote_url(Path("/s3/bucket")) is remote_module.remote_url("vectors") is None
