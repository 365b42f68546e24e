"""Object stores, against a server that speaks S3."""

from __future__ import annotations

import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tables import Photos, ledger, rows
from typer.testing import CliRunner

import percepts
from percepts.cli import app
from percepts.errors import MissingExtra, SettingsDiffer
from percepts.jobs.repair import repair
from percepts.jobs.run import embed
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
    put = remote_module.Remote._put

    def failing(self: remote_module.Remote, name: str) -> None:
        if name == "manifest.json":
            raise ConnectionError("the line is cut")
        put(self, name)

    with monkeypatch.context() as cut:
        cut.setattr(remote_module.Remote, "_put", failing)
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
    assert told.startswith(f"{out}: 12 sources") and f"\n{out}: whole (12 ok" in told
    assert percepts.search(out, "red")[0].record.source == str(folder / "0003.png")

    system, path = remote_module.system_of(out)
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


def s3fs_names(url: str) -> list[str]:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    return list(s3fs.S3FileSystem().find(url))


def test_a_url_that_was_a_path_is_still_one() -> None:
    assert remote_module.url_of(Path("s3://bucket/a/b")) == remote_module.url_of("s3://bucket/a/b") == "s3://bucket/a/b"
    assert remote_module.url_of(Path("/s3/bucket")) is remote_module.url_of("vectors") is None
