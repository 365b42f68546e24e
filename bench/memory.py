"""Measure the memory of `embed`: its peak on many images and on a tenth of them, and how it and the open files grow.

    python bench/memory.py                     everything: 5,000 and 500 images, 50,000 items, ten hours of audio
    python bench/memory.py --pictures 50000    the first of these on more
    python bench/memory.py --slopes            only the slopes, as the test in tests/jobs/test_flat.py needs them

The slope is that of a line through what this process and its workers hold, sampled twice a second; the first third
of a run, in which libraries are loaded and buffers filled, is left out.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

PEAK = """
import json, resource, sys, percepts
report = percepts.embed(sys.argv[1], sys.argv[2], models=["effnet-lite0"])
own, children = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps(dict(rows=report.rows, failed=report.failed, seconds=report.seconds, own=own, worker=children)))
"""
LOOK = """
import json, sys, psutil, percepts
own, seen = psutil.Process(), []
def look(now):
    try:
        all = [own, *own.children(recursive=True)]
        held = now.seconds, sum(p.memory_info().rss for p in all) / 2**20, sum(p.num_fds() for p in all)
    except psutil.NoSuchProcess:
        return
    if len(all) > 1:  # the worker is at work
        seen.append(held)
report = percepts.embed(sys.argv[1], sys.argv[2], models=[sys.argv[3]], workers=1, on_progress=look)
print(json.dumps(dict(rows=report.rows, failed=report.failed, seconds=report.seconds, seen=seen)))
"""
RATE = 8000


def make_pictures(folder: Path, count: int, side: int = 48) -> None:
    """Write PNGs, a thousand per folder, all different."""
    rng = np.random.default_rng(0)
    for i in range(count):
        path = folder / f"{i // 1000:03d}" / f"{i:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((side, side)).save(
            data, "PNG", compress_level=1
        )
        path.write_bytes(data.getvalue())


def make_recording(folder: Path, hours: float) -> None:
    """Write a FLAC of silence with a second of noise in each minute: 8 kHz, a few megabytes for ten hours."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(folder / "long.flac", "w", RATE, 1, "PCM_16") as file:
        for _ in range(round(hours * 60)):
            file.write(rng.integers(-3000, 3000, RATE).astype(np.int16))
            file.write(np.zeros(59 * RATE, np.int16))


def measure(code: str, *words: object) -> dict[str, float]:
    """Run in a process of its own, and return what it reports."""
    command = [sys.executable, "-c", code, *map(str, words)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def slopes(items: int, hours: float) -> Iterator[dict[str, object]]:
    """Return the growth, in megabytes and open files, of a run of many items and of one long file."""
    with tempfile.TemporaryDirectory() as name:
        make_pictures(Path(name) / "many", items, side=8)
        make_recording(Path(name) / "long", hours)
        for folder, model in (("many", "fake-image"), ("long", "fake-audio")):
            run = measure(LOOK, Path(name) / folder, Path(name) / f"v{folder}", model)
            seen = np.array(run.pop("seen"))
            late = seen[seen[:, 0] > run["seconds"] / 3]
            grown = [float(np.polyfit(late[:, 0], late[:, i], 1)[0] * np.ptp(late[:, 0])) for i in (1, 2)]
            yield {
                "of": f"{items:,} pictures" if folder == "many" else f"{hours:g} hours", **run, "looks": len(late),
                "megabytes": grown[0], "files": grown[1], "peak": float(seen[:, 1].max()),
                "most files": int(seen[:, 2].max()),
            }  # fmt: skip


def peaks(pictures: int) -> None:
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for count in (pictures // 10, pictures):
            folder = Path(name) / str(count)
            make_pictures(folder, count)
            found[count] = measure(PEAK, folder, Path(name) / f"v{count}")
            print(f"{count:7d} pictures:", ", ".join(f"{k} {v:.0f}" for k, v in found[count].items()), "(MB)")
    few, many = found.values()
    for who in ("own", "worker"):
        print(f"{who}: {many[who] / few[who]:.3f} of the smaller run's peak  (aim 1.10 at 50,000 to 5,000)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--slopes", action="store_true", help="those alone")
    options = parser.parse_args()
    if not options.slopes:
        peaks(options.pictures)
    for found in slopes(options.items, options.hours):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
