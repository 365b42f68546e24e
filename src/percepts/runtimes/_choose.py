"""Which runtime runs this network here: measured once on the real graph, remembered beside it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ..types import Inputs
from ._cache import atomic
from ._network import Network, Runner

log = logging.getLogger(__name__)

MARGIN = 1.25  # below it the same two runtimes change places from run to run, and a second one costs memory
HOPELESS = 3.0  # times slower than the best, once
BATCH = 8
REPEATS = 3


def choose(
    network: Network, candidates: Sequence[str], make: Callable[[str], Runner], choice: Path
) -> tuple[str, Runner | None]:
    """The name of the fastest of `candidates`, and its runner where it had to be measured.

    A candidate must beat those before it by a factor of MARGIN. The answer is kept in the file `choice` and holds as
    long as that runtime is installed, whatever the clock would say next time: a resumed job must get the same bits.
    """
    kept = _read(choice)
    if kept is not None and kept in candidates:
        return kept, None
    runners = {name: make(name) for name in candidates}
    seconds = _measure(runners, network.example)
    best = candidates[0]
    for name in candidates[1:]:
        if seconds[name] * MARGIN < seconds[best]:
            best = name
    _write(choice, best, seconds)
    log.info("%s runs on %s (%s)", network.name, best, _show(seconds))
    return best, runners[best]


def _measure(runners: dict[str, Runner], example: Inputs) -> dict[str, float]:
    """Seconds an item: the best of interleaved repeats after a run to warm up; the hopeless are not asked again."""
    batch = {name: np.repeat(value, BATCH, axis=0) for name, value in example.items()}
    for run in runners.values():
        run(example)
    best = dict.fromkeys(runners, float("inf"))
    for _ in range(REPEATS):
        for name, run in runners.items():
            if HOPELESS * min(best.values()) < best[name] < float("inf"):
                continue
            begun = time.perf_counter()
            run(batch)
            best[name] = min(best[name], (time.perf_counter() - begun) / BATCH)
    return best


def _read(choice: Path) -> str | None:
    try:
        return str(json.loads(choice.read_text())["runtime"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or damaged: measure again


def _write(choice: Path, best: str, seconds: dict[str, float]) -> None:
    found = {
        "runtime": best,
        "milliseconds": {name: round(value * 1e3, 3) for name, value in seconds.items()},
        "versions": {package: version(package) for package in ("torch", "onnxruntime", "numpy")},
    }
    with atomic(choice) as part:
        part.write_text(json.dumps(found, indent=1))


def _show(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value * 1e3:.1f} ms" for name, value in seconds.items())
