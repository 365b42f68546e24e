"""Ray: the driver is killed, a node is killed; what was finished stays, the rest is done, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tables import Photos, ledger, rows

from percepts.jobs.run import embed
from percepts.jobs.verify import verify

HERE = Path(__file__).parent
MODEL = "test-slow"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the warnings are Ray's own
DRIVER = """
import os, sys
sys.path.insert(0, sys.argv[3])
import faulty
from percepts.encoders import register_encoder
from percepts.jobs import loop, run; from percepts.jobs.workers import ray_pool as ray
register_encoder(faulty.spec("Slow"))
ray.BATCH_ITEMS, loop.ROWS_A_PART = 10, 20
report = run.embed(sys.argv[1], sys.argv[2], models=["test-slow"], workers=0, cluster=ray.Cluster(sys.argv[4], 2))
print(report.done, report.failed, report.unchanged)
"""


@pytest.fixture
def nodes(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A cluster of two nodes on this machine, each with room for one actor; the driver joins the first."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *sys.path])
    cluster = cluster_utils.Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 << 20},
    )
    second = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    cluster.wait_for_nodes()
    yield cluster, second
    cluster.shutdown()


def driver(folder: Path, out: Path, address: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRIVER, str(folder), str(out), str(HERE), address]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for_rows(out: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while len(list((out / "ledger").glob("part-*.parquet"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def judged(folder: Path, out: Path, whole: Path) -> None:
    embed(folder, whole, models=[MODEL], workers=0)
    assert rows(out, MODEL) == rows(whole, MODEL) and ledger(out).keys() == ledger(whole).keys()
    verdict = verify(out)
    assert verdict.ok, verdict.problems


def test_a_driver_that_is_killed_is_gone_on_from(nodes, photos: Photos, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, out = photos(400), tmp_path / "v"
    first = driver(folder, out, nodes[0].address)
    wait_for_rows(out, first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    done = len(ledger(out))
    assert 0 < done < 400
    second = driver(folder, out, nodes[0].address)
    assert f"{400 - done} 0 {done}" in second.communicate(timeout=240)[0].splitlines()
    judged(folder, out, tmp_path / "whole")


def test_a_node_that_is_killed_costs_nothing(nodes, photos: Photos, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, out = photos(400), tmp_path / "v"
    process = driver(folder, out, nodes[0].address)
    wait_for_rows(out, process)
    nodes[0].remove_node(nodes[1], allow_graceful=False)
    said = process.communicate(timeout=240)[0]
    assert "400 0 0" in said.splitlines()  # Ray says beside it what it thinks of this
    judged(folder, out, tmp_path / "whole")
    assert not [p for p in psutil.process_iter(["cmdline"]) if "ray::JobActor" in " ".join(p.info["cmdline"] or [])]
