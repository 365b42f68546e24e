"""A job is killed at every boundary of its stages, once and twice, resumed, and held against a run that never was.

    python tests/jobs/torture.py            all of it, as `make torture` runs it
    python tests/jobs/torture.py --quick    what `make test` runs

Each death happens in a process of its own, forked from this one, so that a case costs a tenth of a second. The table
says how many items were lost, were there twice, or had another vector than in the uninterrupted run, and how many files
of the user's in the directory were changed or lost: all zero.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
MODEL = "fake-image"
ITEMS = 14
FOREIGN = (
    *("x", f"data/{MODEL}/x", f"data/{MODEL}/part-000000.parquet.bak", "data/x", "ledger/x", "npz/mine.npz"),
    *("jsonl/mine.jsonl", "jsonl/sub/mine.jsonl", "txt/notes.txt", "index/x", "stats.json.bak", "shards/x"),
)
"""Files that percepts did not make: put into the directory after the first death, before the next start."""
MINE = b"mine"


@dataclass(frozen=True)
class Point:
    """A boundary: before or after a call of this function. `name` is "module:qualified.name"."""

    name: str
    after: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.name.rpartition('percepts.')[2]}"


POINTS = [
    *(
        Point(name, after)
        for name in (
            "percepts.jobs.loop:JobLoop._handle",
            "percepts.jobs.batching:Batcher._bisect",
            "percepts.tasks.embed:EmbedTask.prepare_source",
            "percepts.jobs.workers.worker:SourceProcessor._fetch",
            "percepts.jobs.storage.directory:write_part",
            "percepts.jobs.storage.directory:write_table",
            "percepts.jobs.storage.directory:JobDirectory.commit",
            "percepts.jobs.storage.ledger:Manifest.write",
            "percepts.support.files:sync_folder",
            "os:fsync",
            "os:replace",
            "percepts.support.files:remove_file",
            "percepts.jobs.storage.format_files:FormatFiles._append_line",
            "percepts.jobs.storage.format_files:FormatFiles._place",
        )
        for after in (False, True)
    ),
    Point("percepts.jobs.run:write_formats"),
    Point("percepts.jobs.run:_write_stats"),
]
WAYS: dict[str, Callable[[], None]] = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "os._exit": lambda: os._exit(17),
}


@dataclass
class Row:
    """What came of one kind of fault."""

    fault: str
    runs: int = 0
    deaths: int = 0
    items: int = 0
    lost: int = 0
    duplicates: int = 0
    mismatched: int = 0
    foreign: int = 0
    foreign_lost: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        return not (self.lost or self.duplicates or self.mismatched or self.foreign_lost or self.problems)


def mined(point: Point, nth: int, die: Callable[[], None]) -> None:
    """Replace the function by one that dies at its nth call."""
    module, _, path = point.name.partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    whole, calls = getattr(owner, name), Counter[str]()

    def armed(*words: Any, **more: Any) -> Any:
        calls["all"] += 1
        if calls["all"] == nth and not point.after:
            die()
        result = whole(*words, **more)
        if calls["all"] == nth:
            die()
        return result

    setattr(owner, name, armed)


def in_child(work: Callable[[], None]) -> int:
    """Its exit status; 0: it came to its end."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def job(folder: Path, out: Path) -> None:
    from percepts.jobs import loop, run
    from percepts.jobs.workers import worker

    loop.ROWS_A_PART, worker.MESSAGE_SECONDS = 4, 0.0
    run.embed(folder, out, models=[MODEL], workers=0, batch_size=3, formats=("parquet", "npz", "jsonl"))


def pictures(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(ITEMS):
        Image.new("RGB", (20, 16), tuple(int(c) for c in rng.integers(0, 200, 3))).save(folder / f"{i:04d}.png")
    (folder / "bad.png").write_bytes(b"no picture")
    return folder


def contents(out: Path) -> tuple[Counter[str], dict[tuple[str, float], bytes]]:
    """How often each source is in the ledger; and every vector by its source and start, the doubles counted apart."""
    from percepts.jobs.storage.ledger import Manifest, ledger_entries
    from percepts.stores.parquet import read_parts

    rows: dict[tuple[str, float], bytes] = {}
    names = Counter(row["uri"] for row in ledger_entries(out, Manifest.read(out)))
    for batch in read_parts(out, MODEL):
        for row in batch.to_pylist():
            key = (row["source"], row["start"])
            names[f"twice {key}"] += key in rows
            rows[key] = np.array(row["vector"], np.float32).tobytes()
    return names, rows


def judged(row: Row, whole: Path, out: Path) -> None:
    from percepts.jobs.verify import verify

    (names, rows), (all_names, all_rows) = contents(out), contents(whole)
    row.items += len(all_names)
    row.lost += len(all_names.keys() - names.keys()) + len(all_rows.keys() - rows.keys())
    row.duplicates += sum(count - 1 for name, count in names.items() if count > 1) + sum(
        count for name, count in names.items() if name.startswith("twice ")
    )
    row.mismatched += sum(rows[key] != all_rows[key] for key in rows.keys() & all_rows.keys())
    row.mismatched += len(rows.keys() - all_rows.keys())
    row.problems += verify(out).problems
    npz = (
        {path.name: path.read_bytes() for path in (each / "npz").glob("*.npz") if path.name != "mine.npz"}
        for each in (out, whole)
    )
    row.problems += ["npz differ"] if len({str(sorted(each.items())) for each in npz}) != 1 else []
    row.problems += [f"left: {path}" for path in out.rglob("*") if path.suffix in (".tmp", ".part")]


def strewn(out: Path) -> list[Path]:
    """Put files of the user's at every level of a job directory; nothing where there is no job yet."""
    if not (out / "manifest.json").exists():
        return []
    paths = [out / name for name in FOREIGN]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(MINE)
    return paths


def crash_matrix(folder: Path, whole: Path, scratch: Path, quick: bool) -> Iterator[Row]:
    ways = list(WAYS)[:1] if quick else list(WAYS)
    cases = [(nth, way, times) for nth in ((1, 3) if quick else (1, 2, 3, 5, 8)) for way in ways for times in (1, 2)]
    for point in POINTS:
        row = Row(str(point))
        for nth, way, times in cases[1::2] if quick else cases:
            crashed(row, point, nth, way, times, folder, whole, scratch / "out")
        yield row


def crashed(row: Row, point: Point, nth: int, way: str, times: int, folder: Path, whole: Path, out: Path) -> None:
    """One case: so many deaths, then a run to its end, then the comparison."""

    def doomed() -> None:
        mined(point, nth, WAYS[way])
        job(folder, out)

    mine: list[Path] = []
    for _ in range(times):
        row.deaths += in_child(doomed) != 0
        mine = mine or strewn(out)
    if in_child(lambda: job(folder, out)):
        row.problems.append(f"did not resume after {way} at call {nth}, {times} times")
    else:
        judged(row, whole, out)
    row.foreign += len(mine)
    row.foreign_lost += sum(not path.is_file() or path.read_bytes() != MINE for path in mine)
    row.runs += 1
    shutil.rmtree(out, ignore_errors=True)


def torture(quick: bool) -> Iterator[Row]:
    """A row for each fault, as soon as it is done."""
    from percepts.jobs import repair, run, verify  # noqa: F401  # imported before anything forks

    scratch = Path(tempfile.mkdtemp(prefix="torture"))
    try:
        folder = pictures(scratch / "photos")
        assert in_child(lambda: job(folder, scratch / "whole")) == 0
        yield from crash_matrix(folder, scratch / "whole", scratch, quick)
    finally:
        shutil.rmtree(scratch)


COUNTS = ("runs", "deaths", "items", "lost", "duplicates", "mismatched", "foreign", "foreign_lost")
WIDTH = max(len(str(point)) for point in POINTS)


def show(row: Row) -> None:
    """A line of the table, and what is wrong below it."""
    print(
        f"{row.fault:<{WIDTH}}  " + "  ".join(f"{getattr(row, name):>{max(10, len(name))},}" for name in COUNTS),
        flush=True,
    )
    for problem in row.problems:
        print(f"    {problem}", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true")
    print(
        f"{'fault':<{WIDTH}}  " + "  ".join(f"{name.replace('_', ' '):>{max(10, len(name))}}" for name in COUNTS),
        flush=True,
    )
    rows = []
    for row in torture(options.parse_args().quick):
        show(row)
        rows.append(row)
    show(Row("all", *(sum(getattr(row, name) for row in rows) for name in COUNTS)))
    if not all(row.fine for row in rows) or not all(row.deaths for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
