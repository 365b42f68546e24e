"""Every file of the zoo, broken at random, through every decoder and reader: what comes is records or a named error.

    python tests/jobs/fuzz.py                     20,000 mutants, as `make torture` runs it
    python tests/jobs/fuzz.py --only 4711         one of them again, kept as a file and told in full

A mutant follows from its number alone. Each is decoded in a worker under the job's own limits of time and memory, so
one that aborts, hangs or eats memory is caught and counted; an exception that percepts has no name for is a find.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
import sys
import tarfile
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from percepts import errors
from percepts.encoders import model_spec
from percepts.jobs.sources import containers
from percepts.jobs.sources.walk import WorkItem, find_sources
from percepts.jobs.storage.entry import LedgerEntry
from percepts.jobs.workers import pool, worker
from percepts.jobs.workers.pool import WorkerPool
from percepts.jobs.workers.worker import Decoded, Event, SourceProcessor
from percepts.tasks.embed import EmbedTask
from percepts.timeline import subtitles
from percepts.types import Segment

NAMED = {name for name, value in vars(errors).items() if isinstance(value, type)}
NAMED |= {"FileNotFoundError", "PermissionError", "IsADirectoryError"}  # Python's own, as errors.py says
CAUGHT = ("WorkerDied", "MemoryError")
"""What the worker and its limits are for."""
SLOW = 10.0
"""Seconds for one mutant of a file that takes a tenth: told, so that somebody looks."""
LISTS = (".csv", ".tsv", ".jsonl", ".parquet", ".tar")
SPANS = np.array([0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF], "<u4")
"""Lengths and counts at which readers go wrong."""


@dataclass(slots=True)
class Reading(SourceProcessor):
    """A decode worker that reads lists, containers and subtitles, too, which a job reads elsewhere."""

    def __call__(self, order: WorkItem) -> Iterator[Event]:
        """As a worker does; an exception that has no name keeps its place."""
        worker.CPU_SECONDS = 30
        suffix = Path(order.uri).suffix
        if suffix not in LISTS and suffix[1:] not in subtitles.FORMATS:
            yield from super(Reading, self).__call__(order)
            return
        entry, began = LedgerEntry("", order.uri, "", 0, 0, "ok"), time.perf_counter()
        try:
            _read(order.uri, suffix)
        except Exception as error:
            promised = isinstance(error, ValueError) and suffix not in LISTS  # what subtitles.read says it raises
            name = "NotMedia" if promised else type(error).__name__
            entry = replace(entry, status="error", error=name, message=_where())
        yield Decoded(order.key, replace(entry, seconds=time.perf_counter() - began))


def _read(path: str, suffix: str) -> None:
    if suffix in LISTS:
        for uri in islice(find_sources([path], leave_out=Path("/nowhere")), 100):
            if containers.split_member(uri):
                containers.read_member(uri)
    else:
        text = Path(path).read_bytes().decode(errors="replace")
        subtitles.read_segments(text, suffix[1:])  # type: ignore[arg-type]


def _where() -> str:
    return traceback.format_exc(limit=-3)


def mutant(seeds: Sequence[bytes], number: int) -> tuple[int, bytes]:
    """Which of the seeds, and what has become of it: one to eight blows, at most one of them a splice."""
    rng = np.random.default_rng([7, number])
    which = int(rng.integers(len(seeds)))
    data = bytearray(seeds[which])
    for _ in range(int(rng.integers(1, 9))):
        data = BLOWS[int(rng.integers(len(BLOWS)))](data, rng) if data else data
    if rng.random() < 0.1:
        other = seeds[int(rng.integers(len(seeds)))]
        data[_at(data, rng) :] = other[_at(other, rng) :]
    return which, bytes(data)


def _at(data: Sequence[int], rng: np.random.Generator) -> int:
    """Heads are where formats say what they are: half of all blows go to the first kilobyte."""
    most = len(data) if rng.random() < 0.5 else min(len(data), 1024)
    return int(rng.integers(most + 1)) if most else 0


def _flip(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = min(_at(data, rng), len(data) - 1)
    data[at] ^= 1 << int(rng.integers(8))
    return data


def _noise(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = _at(data, rng)
    data[at : at + 8] = rng.bytes(int(rng.integers(1, 9)))
    return data


def _number(data: bytearray, rng: np.random.Generator) -> bytearray:
    at, size = _at(data, rng), int(rng.choice([1, 2, 4]))
    value = int(rng.choice(SPANS)) & ((1 << 8 * size) - 1)
    data[at : at + size] = value.to_bytes(size, "big" if rng.random() < 0.5 else "little")
    return data


def _cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = _at(data, rng)
    del data[at : at + int(rng.integers(1, 2000))]
    return data


def _truncate(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(len(data)))]


def _repeat(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = _at(data, rng)
    data[at:at] = data[at : at + int(rng.integers(1, 2000))]
    return data


def _zero(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = _at(data, rng)
    size = len(data[at : at + int(rng.integers(1, 200))])
    data[at : at + size] = bytes(size)
    return data


BLOWS: Sequence[Callable[[bytearray, np.random.Generator], bytearray]] = (
    _flip, _flip, _noise, _number, _number, _cut, _truncate, _repeat, _zero,
)  # fmt: skip


def make_lists(folder: Path) -> None:
    """Lists, containers and subtitles, small and whole."""
    names = [{"uri": f"photos/{i}.png", "label": "ein Hund, «müde»"} for i in range(8)]
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        text = io.StringIO()
        rows = csv.DictWriter(text, ["uri", "label"], delimiter=delimiter)
        rows.writeheader()
        rows.writerows(names)
        (folder / f"list{suffix}").write_text(text.getvalue())
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in names))
    pq.write_table(pa.Table.from_pylist(names), folder / "list.parquet")
    cells = [{"image": {"bytes": bytes([i]) * 300, "path": None}, "label": i} for i in range(8)]
    pq.write_table(pa.Table.from_pylist(cells), folder / "cells.parquet", compression="zstd", row_group_size=3)
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for i in range(4):
            member = tarfile.TarInfo(f"{i:04d}.png")
            member.size = 300
            tar.addfile(member, io.BytesIO(bytes(300)))
    words = [Segment(i, i + 0.5, f"well, number {i} <b>&amp;", speaker="Ann") for i in range(3)]
    for format in subtitles.FORMATS:
        if format != "txt":
            (folder / f"said.{format}").write_text(subtitles.write_segments(words, format, source="talk"))


@dataclass
class Found:
    """What became of the mutants of one kind of file."""

    outcomes: Counter[str] = field(default_factory=Counter)
    finds: list[str] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)


def fuzz(
    folders: Sequence[Path], numbers: Sequence[int], *, seconds: float = 600.0, processes: int = 1
) -> dict[str, Found]:
    """Mutants of the files in `folders`, by number, decoded in worker processes; what became of them by file suffix."""
    files = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
    seeds = [path for path in files if path.stat().st_size < 300_000]
    contents = [path.read_bytes() for path in seeds]
    scratch = Path(tempfile.mkdtemp(prefix="fuzz"))
    until = time.monotonic() + seconds

    def orders() -> Iterator[WorkItem]:
        for number in numbers:
            if time.monotonic() > until:
                return
            which, data = mutant(contents, number)
            path = scratch / f"{number}{seeds[which].suffix}"
            path.write_bytes(data)
            yield WorkItem(number, str(path), len(data))

    silence, pool.SILENCE = pool.SILENCE, 90.0
    task = EmbedTask((model_spec("fake-image"), model_spec("fake-audio")), fps=2.0)
    crew, found = WorkerPool(Reading(task), orders(), processes), defaultdict[str, Found](Found)
    try:
        while True:
            for event in crew.buffer.get(1.0):
                if isinstance(event, Decoded) and event.entry:
                    _judge(found[Path(event.entry.uri).suffix or "none"], event.key, event.entry)
                    Path(event.entry.uri).unlink(missing_ok=True)
    except EOFError:
        return dict(found)
    finally:
        crew.close()
        pool.SILENCE = silence
        shutil.rmtree(scratch)


def _judge(found: Found, number: int, entry: LedgerEntry) -> None:
    told = f"{number}: {entry.error} at {entry.stage or 'read'}: {entry.message.strip()}"
    if not entry.error or entry.error in NAMED:
        found.outcomes[entry.status] += 1
    else:
        found.outcomes["caught" if entry.error in CAUGHT else "unnamed"] += 1
        (found.looks if entry.error in CAUGHT else found.finds).append(told)
    if entry.seconds > SLOW:
        found.looks.append(f"{number}: {entry.seconds:.0f} s")


def show(found: dict[str, Found]) -> None:
    head = ("ok", "error", "skipped", "caught", "unnamed")
    print(f"{'mutants of':<12}" + "".join(f"{name:>9}" for name in head))
    for suffix, each in sorted(found.items()):
        print(f"{suffix:<12}" + "".join(f"{each.outcomes[name]:>9,}" for name in head))
    total = sum((each.outcomes for each in found.values()), Counter[str]())
    print(f"{'all':<12}" + "".join(f"{total[name]:>9,}" for name in head))
    for each in found.values():
        for line in [*each.finds[:20], *each.looks[:20]]:
            print(line)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=20_000)
    options.add_argument("--first", type=int, default=0, help="number of the first")
    options.add_argument("--seconds", type=float, default=480.0)
    options.add_argument("--only", type=int)
    given = options.parse_args()
    sys.path.append(str(Path(__file__).parents[1]))
    from zoo import make_zoo

    folder = Path(tempfile.mkdtemp(prefix="zoo"))
    try:
        make_zoo(folder)
        make_lists(folder)
        numbers = [given.only] if given.only is not None else range(given.first, given.first + given.count)
        found = fuzz([folder], numbers, seconds=given.seconds, processes=2)
    finally:
        shutil.rmtree(folder)
    show(found)
    raise SystemExit(any(each.finds for each in found.values()))


if __name__ == "__main__":
    import fuzz as importable  # so that a worker finds the classes by this name

    importable.main()
