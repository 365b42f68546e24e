"""Peak memory of `embed` on many small pictures and on a tenth of them: it must not grow with the job.

python bench/memory.py [--pictures 50000]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

RUN = """
import json, resource, sys, percepts
report = percepts.embed(sys.argv[1], sys.argv[2], models=["effnet-lite0"])
own, children = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps(dict(rows=report.rows, failed=report.failed, seconds=report.seconds, own=own, worker=children)))
"""


def make_pictures(folder: Path, count: int) -> None:
    """48x48 PNGs, a thousand to a folder, no two alike."""
    rng = np.random.default_rng(0)
    for i in range(count):
        path = folder / f"{i // 1000:03d}" / f"{i:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((48, 48)).save(path, compress_level=1)


def measure(folder: Path, out: Path) -> dict[str, float]:
    command = [sys.executable, "-c", RUN, str(folder), str(out)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=5000)
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for count in (options.pictures // 10, options.pictures):
            folder = Path(name) / str(count)
            make_pictures(folder, count)
            found[count] = measure(folder, Path(name) / f"v{count}")
            print(f"{count:7d} pictures:", ", ".join(f"{k} {v:.0f}" for k, v in found[count].items()), "(MB)")
    few, many = found.values()
    for who in ("own", "worker"):
        print(f"{who}: {many[who] / few[who]:.3f} of the smaller run's peak  (aim 1.10 at 50,000 to 5,000)")


if __name__ == "__main__":
    main()
