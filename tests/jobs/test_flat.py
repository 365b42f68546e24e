"""Memory and open files do not grow with the job: fifty thousand items, a recording of ten hours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "memory.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="counts file descriptors")
def test_memory_and_descriptors_stay_flat() -> None:
    """A leak of 300 bytes an item, or a file left open in each hundred, would show."""
    done = subprocess.run([sys.executable, BENCH, "--slopes"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        run = json.loads(line)
        assert run["failed"] == 0 and run["looks"] > 5, run
        assert run["megabytes"] < 10 and abs(run["files"]) < 5, run
