"""One process, shares put together, actors of Ray: the rows and the ledger are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image
from tables import Photos, ledger, rows
from toytasks import Homebound

from percepts.errors import JobError, SettingsDiffer, WeightsError
from percepts.jobs.merge import merge
from percepts.jobs.progress import Progress
from percepts.jobs.run import embed, run
from percepts.jobs.verify import verify
from percepts.jobs.workers.ray_pool import Cluster

MODEL = "fake-image"
HERE = Path(__file__).parent


def same(a: Path, b: Path, model: str = MODEL) -> bool:
    one, other = ledger(a), ledger(b)
    return rows(a, model) == rows(b, model) and {n: e["status"] for n, e in one.items()} == {
        n: e["status"] for n, e in other.items()
    }


@pytest.fixture
def folder(photos: Photos) -> Path:
    folder = photos(30, red=(7,))
    (folder / "0003.png").write_bytes(b"no picture")
    return folder


def test_shares_put_together_are_one_run(folder: Path, tmp_path: Path) -> None:
    embed(folder, tmp_path / "whole", models=[MODEL], workers=0)
    for number in (1, 2, 3):
        report = embed(folder, tmp_path / "v", models=[MODEL], workers=0, shard=(number, 3))
        assert 0 < report.done < 30
    assert merge(tmp_path / "v")["sources"] == 30
    assert same(tmp_path / "v", tmp_path / "whole")
    assert verify(tmp_path / "v").ok


def test_shares_that_have_grown_and_changed_are_put_together_again(folder: Path, tmp_path: Path) -> None:
    shares = [(1, 2), (2, 2)]
    for share in shares:
        embed(folder, tmp_path / "v", models=[MODEL], workers=0, shard=share)
        merge(tmp_path / "v")
    assert merge(tmp_path / "v")["sources"] == 30
    Image.new("RGB", (9, 9), "blue").save(folder / "0003.png")
    Image.new("RGB", (9, 9), "blue").save(folder / "0004.png")
    Image.new("RGB", (9, 9), "blue").save(folder / "0100.png")
    for share in shares:
        embed(folder, tmp_path / "v", models=[MODEL], workers=0, shard=share, retry_failed=False)
    merge(tmp_path / "v")
    embed(folder, tmp_path / "whole", models=[MODEL], workers=0)
    assert same(tmp_path / "v", tmp_path / "whole")
    assert verify(tmp_path / "v").ok


def test_shares_of_different_jobs_are_not_put_together(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no shards"):
        merge(tmp_path)
    embed(folder, tmp_path / "v", models=[MODEL], workers=0, shard=(1, 2))
    embed(folder, tmp_path / "v", models=[MODEL], workers=0, shard=(2, 2), fps=2.0)
    with pytest.raises(SettingsDiffer, match="fps"):
        merge(tmp_path / "v")
    with pytest.raises(ValueError, match="from 1/2 to 2/2"):
        embed(folder, tmp_path / "v", models=[MODEL], shard=(0, 2))


def test_a_share_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "percepts.cli"]
    for share in ("1/2", "2/2"):
        words = ["embed", str(folder), "-o", "v", "-m", MODEL, "--workers", "0", "--shard", share]
        assert subprocess.run([*command, *words], cwd=tmp_path, capture_output=True).returncode in (0, 3)
    done = subprocess.run([*command, "merge", "v"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "v: 30 files, 1 failed, 29 rows\n"
    wrong = subprocess.run([*command, *words[:-1], "3/2"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 2 and "from 1/N to N/N" in wrong.stderr


# Ray


@pytest.fixture(scope="module")
def ray():  # type: ignore[no-untyped-def]
    """A Ray of our own for all of these tests, with the test encoders importable in its actors."""
    ray = pytest.importorskip("ray")
    paths = os.pathsep.join([str(HERE), *sys.path])
    environment = {"env_vars": {"PYTHONPATH": paths, "RAY_DEDUP_LOGS": "0"}}
    ray.init(
        "local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment,
        object_store_memory=100 << 20,
    )  # fmt: skip
    yield ray
    ray.shutdown()


quiet = pytest.mark.filterwarnings("ignore")  # Ray's own


@quiet
def test_actors_give_what_one_process_gives(ray, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    seen = []
    report = embed(
        folder, tmp_path / "v", models=[MODEL], workers=0, cluster=Cluster("auto", 2), on_progress=seen.append
    )
    assert (report.done, report.failed) == (29, 1)
    assert seen[-1].done == 29
    embed(folder, tmp_path / "whole", models=[MODEL], workers=0)
    assert same(tmp_path / "v", tmp_path / "whole")
    assert embed(folder, tmp_path / "v", models=[MODEL], cluster=Cluster("auto", 1)).unchanged == 30
    assert verify(tmp_path / "v").ok


@quiet
def test_an_actor_that_is_killed_costs_nothing(
    ray,  # type: ignore[no-untyped-def]
    photos: Photos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from percepts.jobs import progress as progress_module
    from percepts.jobs.workers import ray_pool as ray_module

    monkeypatch.setattr(ray_module, "BATCH_ITEMS", 10)
    monkeypatch.setattr(progress_module, "INTERVAL", 0.0)  # or a busy machine first tells of it when all is done
    folder, killed = photos(80), list[int]()

    def kill_one(now: Progress) -> None:
        if not now.done or killed:
            return
        actors = [p for p in psutil.process_iter(["cmdline"]) if "ray::JobActor" in " ".join(p.info["cmdline"] or [])]
        if actors:
            actors[0].kill()
            killed.append(actors[0].pid)

    cluster = ray_module.Cluster("auto", 2)
    report = embed(folder, tmp_path / "v", models=["test-slow"], workers=0, cluster=cluster, on_progress=kill_one)
    assert killed and (report.done, report.failed) == (80, 0)
    embed(folder, tmp_path / "whole", models=["test-slow"], workers=0)
    assert same(tmp_path / "v", tmp_path / "whole", "test-slow")
    assert verify(tmp_path / "v").ok


@quiet
def test_stdout_holds_the_report_alone_when_ray_has_something_to_say(ray, photos: Photos, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "v"
    words = ["embed", photos(600), "-o", out, "-m", "test-slow", "--workers", "0", "--actors", "2", "--json"]
    command = [sys.executable, HERE / "slowly.py", *words, "--cluster", ray.get_runtime_context().gcs_address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not list((out / "ledger").glob("part-*.parquet")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    next(p for p in psutil.process_iter(["cmdline"]) if "ray::JobActor" in " ".join(p.info["cmdline"] or [])).kill()
    said, beside = process.communicate(timeout=240)
    assert json.loads(said)["done"] == 600, said
    assert "(raylet)" in beside


@quiet
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"resources": {"tpu": 1}}, "each asks for.*tpu.*the cluster has CPU 2"),
        ({}, "do not start.*only on the driver"),
    ],
    ids=["no room", "no start"],
)
def test_actors_that_never_start_end_the_run(
    ray,  # type: ignore[no-untyped-def]
    photos: Photos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
    why: str,
) -> None:
    from percepts.jobs.workers import ray_pool as ray_module

    cluster = Cluster("auto", 1, options)
    with monkeypatch.context() as hasty, pytest.raises(JobError, match=why):
        hasty.setattr(ray_module, "START_SECONDS", 1.0 if options else 600.0)
        hasty.setattr(ray_module, "STARTS", 1)
        run(Homebound(), photos(3), tmp_path / "v", workers=0, cluster=cluster)
    assert embed(photos(3), tmp_path / "w", models=[MODEL], workers=0, cluster=Cluster("auto", 1)).done == 3


@quiet
def test_a_model_that_hangs_in_an_actor_is_broken_off_at_the_one_that_does_it(
    ray,  # type: ignore[no-untyped-def]
    photos: Photos,
    tmp_path: Path,
) -> None:
    report = embed(
        photos(9, red=(4,)), tmp_path / "v", models=["test-impatient"], workers=0, cluster=Cluster("auto", 1)
    )
    assert (report.done, report.failed) == (8, 1)
    entry = ledger(tmp_path / "v")["0004.png"]
    assert (entry["stage"], entry["error"]) == ("encode", "EncodeError") and "gave no sign" in entry["message"]


@quiet
@pytest.mark.parametrize("cluster", [None, Cluster("auto", 1)], ids=["here", "in an actor"])
def test_weights_that_are_not_to_be_had_end_the_run_and_mark_nothing(
    ray,  # type: ignore[no-untyped-def]
    photos: Photos,
    tmp_path: Path,
    cluster: Cluster | None,
) -> None:
    with pytest.raises(WeightsError, match="--fetch test-absent"):
        embed(photos(3), tmp_path / "v", models=["test-absent"], workers=0, cluster=cluster)
    assert not ledger(tmp_path / "v")
