"""`--cluster ray://…`: the command line as a client of a head that it shares no process with."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from tables import Photos, ledger, rows

from percepts.errors import JobError
from percepts.jobs.run import embed
from percepts.jobs.verify import verify
from percepts.jobs.workers.ray_pool import Cluster

HERE = Path(__file__).parent
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
OPEN = {"RAY_AUTH_MODE": "disabled"}  # else a token that an earlier Ray left at home decides


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """A head of two CPUs, started as a user starts one, and the address of its client server."""
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--port", "0"]
    options = ["--ray-client-server-port", str(port), "--num-cpus", "2", "--object-store-memory", "200000000"]
    quiet = ["--node-ip-address", "127.0.0.1", "--include-dashboard", "false", "--disable-usage-stats"]
    environment = {**os.environ, **OPEN, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    process = subprocess.Popen([*command, *options, *quiet], env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            break
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    yield f"ray://127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=240)


def actors() -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if "ray::JobActor" in " ".join(process.info["cmdline"] or [])]


def wait_for_parts(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while len(list((out / "ledger").glob("part-*.parquet"))) < count:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)


def started(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "slowly.py"), "embed", *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env={**os.environ, **OPEN}, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.slow
def test_a_client_is_stopped_goes_on_loses_an_actor_and_has_the_rows_of_one_process(
    head: str, photos: Photos, tmp_path: Path
) -> None:
    folder, out = photos(800), tmp_path / "v"
    (folder / "0003.png").write_bytes(b"no picture")
    words = (folder, "-o", out, "-m", "test-slow", "--workers", "0", "--json", "--cluster", head)
    first = started(*words)
    wait_for_parts(out, 2, first)
    first.send_signal(signal.SIGINT)
    said, beside = first.communicate(timeout=240)
    assert first.returncode == 130 and "Traceback" not in beside, beside
    done = json.loads(said)["done"]
    assert 0 < done < 799
    second = started(*words)
    wait_for_parts(out, len(list((out / "ledger").glob("part-*.parquet"))) + 1, second)
    actors()[0].kill()
    said, beside = second.communicate(timeout=240)
    report = json.loads(said)
    assert second.returncode == 3, beside
    assert (report["done"] + done, report["failed"] + report["failed_before"]) == (799, 1)
    embed(folder, tmp_path / "whole", models=["test-slow"], workers=0)
    assert rows(out, "test-slow") == rows(tmp_path / "whole", "test-slow")
    assert ledger(out)["0003.png"]["stage"] == "probe" and verify(out).ok
    assert not actors()


@pytest.mark.parametrize("address", ["ray://127.0.0.1:1", "127.0.0.1:1"])
def test_a_head_that_does_not_answer_is_named_with_the_cure(photos: Photos, tmp_path: Path, address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(JobError, match=f"no Ray could be joined at '{address}'.*ray-client-server-port"):
        embed(photos(3), tmp_path / "v", models=["fake-image"], cluster=Cluster(address))
