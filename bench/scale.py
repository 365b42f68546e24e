"""Measure what the job engine costs by itself, and how that grows: no decoding, the `fake` encoder, all else real.

    python bench/scale.py                  10,000 to 1,000,000 items in this process, then on two actors of Ray
    python bench/scale.py --most 100000    a shorter run
    python bench/scale.py --rounds 3       each size in turn, three times, since the load of the machine varies
    python bench/scale.py --actors 64      what Ray's scheduler costs with many actors

Measured are orders, batches, records, parquet with its vectors, ledger, digests and manifest, in items per second of
this process's CPU and of the clock, since the clock also counts other load on the machine.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from percepts.encoders import model_spec
from percepts.jobs.batching import Batcher
from percepts.jobs.loop import JobLoop
from percepts.jobs.progress import RunStats
from percepts.jobs.sources.walk import WorkItem
from percepts.jobs.sources.work_items import PendingSource
from percepts.jobs.storage.directory import JobDirectory
from percepts.jobs.storage.entry import LedgerEntry
from percepts.jobs.verify import verify
from percepts.jobs.workers.pool import WorkerPool
from percepts.jobs.workers.worker import Decoded, Event, SourceProcessor, Started
from percepts.tasks.base import PreparedBatch
from percepts.tasks.embed import EmbedTask

MODEL = "fake-image"


class Undecoded(SourceProcessor):
    """What a worker says of a picture, without the picture: its inputs follow from its name."""

    def __call__(self, order: WorkItem) -> Iterator[Event]:
        """As a worker would."""
        digest = hashlib.sha256(order.uri.encode())
        yield Started(order.key, digest.hexdigest()[:32])
        row = np.frombuffer(digest.digest(), np.uint8)[:8].astype(np.float32)[None] / 255
        yield order.key, PreparedBatch(MODEL, "image", ((0.0, 0.0),), {"colours": row})
        yield Decoded(order.key, LedgerEntry(digest.hexdigest()[:32], order.uri, digest.hexdigest(), 1, 1, "ok"))


@dataclass
class Numbered:
    """So many orders, each with its number for a name."""

    count: int

    def __iter__(self) -> Iterator[WorkItem]:
        return (WorkItem(key, f"/synthetic/{key:09d}.png", 1) for key in range(self.count))

    def __getitem__(self, key: int) -> PendingSource:
        return PendingSource(f"/synthetic/{key:09d}.png", again=False)

    def close(self, key: int) -> None:
        """Nothing is kept of an order."""


def job(count: int, actors: int | None = None, workers: int = 0) -> tuple[float, float]:
    """Seconds by the clock, and of CPU, of a whole job."""
    from threading import Event as Flag

    folder = Path(tempfile.mkdtemp(prefix="scale"))
    task, orders = EmbedTask((model_spec(MODEL),)), Numbered(count)
    try:
        with JobDirectory(folder / "v", task.settings(), task.specs) as directory:
            if actors is not None:
                from percepts.jobs.workers.ray_pool import Cluster

                crew = Cluster("auto", actors, {"num_cpus": 0}).start_workers(
                    Undecoded(task), iter(orders), workers, 32
                )
            began, used = time.perf_counter(), _cpu()
            if actors is None:
                crew = WorkerPool(Undecoded(task), iter(orders), workers)
            JobLoop(task, directory, orders, RunStats(), Batcher(task.run_batch, 32)).run_until_done(crew, Flag())
            took = time.perf_counter() - began, _cpu() - used
            crew.close()
        verdict = verify(folder / "v")
        assert verdict.ok and verdict.counts["ok"] == verdict.counts["rows"] == count, verdict.problems
        return took
    finally:
        shutil.rmtree(folder)


def _cpu() -> float:
    return sum(resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime for who in (0, -1))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--most", type=int, default=1_000_000, help="items of the largest job; 0: Ray alone")
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--actors", type=int, nargs="*", default=[2], help="Ray actors, none to leave Ray out")
    options.add_argument("--ray-items", type=int, default=100_000)
    given = options.parse_args()
    job(2_000)
    if sizes := [count for count in (10_000, 100_000, 1_000_000) if count <= given.most]:
        _grow(sizes, given.rounds)
    for actors in given.actors:
        _ray(actors, given.ray_items)


def _grow(sizes: list[int], rounds: int) -> None:
    print(f"{'items':>10}  {'seconds':>8}  {'CPU s':>8}  {'items/s':>8}  {'items/CPU s':>11}  {'peak MB':>8}")
    growths = []
    for _ in range(rounds):
        used = []
        for count in sizes:
            seconds, cpu = job(count)
            used.append(cpu / count)
            peak = resource.getrusage(0).ru_maxrss / 1000
            rate = f"{count / seconds:>8,.0f}  {count / cpu:>11,.0f}"
            print(f"{count:>10,}  {seconds:>8.1f}  {cpu:>8.1f}  {rate}  {peak:>8.0f}", flush=True)
        growths.append(used[-1] / used[0])
    spread = f"{median(growths):.3f} ({min(growths):.3f} to {max(growths):.3f})"
    print(f"growth from the smallest to the largest: {spread} times the CPU an item (1 is linear)", flush=True)


def _ray(actors: int, count: int) -> None:
    import ray

    ray.init("local", include_dashboard=False, log_to_driver=False, object_store_memory=200 << 20)
    try:
        job(1_000, actors)
        alone, _ = job(count)
        seconds, _ = job(count, actors)
        rate, ratio = count / seconds, seconds / alone
        print(f"Ray, {actors} actors, {count:,} items: {rate:,.0f} items/s, {ratio:.2f} times in-process", flush=True)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
