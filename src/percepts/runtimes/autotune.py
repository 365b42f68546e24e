"""Which runtime runs this network here, at batches of this size: measured once, remembered beside its graph."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from ..support.cache import processor_id
from ..types import Inputs
from .kept import read_record, write_record
from .network import Network, Runner, describe_deviation

log = logging.getLogger(__name__)

MARGIN = 1.25  # below it the same two runtimes change places from run to run, and a second one costs memory
HOPELESS = 3.0  # times slower than the best, once
REPEATS = 3
QUICK = 0.010
"""Seconds an item. What is as quick as that in torch, which needs no graph, is not exported in the hope of better: an
export takes ten seconds and more, which is a thousand items."""


def choose_fastest(
    network: Network, candidates: Sequence[str], make: Callable[[str], Runner], choice: Path, batch: Inputs
) -> tuple[str, Runner | None]:
    """The name of the fastest of `candidates` at `batch`, and its runner where it had to be measured.

    A candidate must beat those before it by a factor of MARGIN. The answer is kept in the file `choice` and holds as
    long as that runtime is installed and the processor is this one, whatever the clock would say next time: a resumed
    job must get the same bits.
    """
    kept = read_choice(choice)
    if kept is not None and kept in candidates:
        return kept, None
    first, count = candidates[0], len(next(iter(batch.values())))
    runners = {first: make(first)}
    seconds = _measure(runners, batch) if first == "torch" else {}
    if not seconds or seconds[first] >= QUICK * count:
        log.info("measuring %s by %s, %s; this happens once", network.name, ", ".join(candidates), _format_size(count))
        runners |= _make_runners(candidates[1:], make)
        if first == "torch" and network.precision == "float32":
            runners = _drop_deviating(runners, batch)
        seconds = _measure(runners, batch)
    best = first
    for name in runners:
        if seconds[name] * MARGIN < seconds[best]:
            best = name
    _write_choice(choice, best, {name: taken / count for name, taken in seconds.items()})
    log.info("%s runs on %s (%s)", network.name, best, _format_seconds(seconds, count))
    return best, runners[best]


def _make_runners(names: Sequence[str], make: Callable[[str], Runner]) -> dict[str, Runner]:
    """Those that can be made: where an exporter does not know an operation, the first candidate still runs."""
    found = {}
    for name in names:
        try:
            found[name] = make(name)
        except Exception as error:
            log.warning("%s is left out: %s: %s", name, type(error).__name__, str(error).partition("\n")[0])
    return found


def _drop_deviating(runners: dict[str, Runner], batch: Inputs) -> dict[str, Runner]:
    """Those that give what torch gives for what came, and not only for the example."""
    expected = runners["torch"](batch)
    found = {}
    for name, run in runners.items():
        if why := describe_deviation(run(batch), expected):
            log.warning("%s is left out: it %s", name, why)
        else:
            found[name] = run
    return found


def _measure(runners: dict[str, Runner], batch: Inputs) -> dict[str, float]:
    """Seconds a batch: the best of interleaved repeats after a run to warm up; the hopeless are not asked again."""
    for run in runners.values():
        run({name: value[:1] for name, value in batch.items()})
    best = dict.fromkeys(runners, float("inf"))
    for _ in range(REPEATS):
        for name, run in runners.items():
            if HOPELESS * min(best.values()) < best[name] < float("inf"):
                continue
            best[name] = min(best[name], _time_batch(run, batch))
    return best


def _time_batch(run: Runner, batch: Inputs) -> float:
    """By the clock, or of CPU time where that is less: what waits for cores of a busy machine is not slow itself."""
    clock, used = time.perf_counter(), time.process_time()
    run(batch)
    return min(time.perf_counter() - clock, time.process_time() - used)


def read_choice(choice: Path) -> str | None:
    """The runtime that was chosen, if that was on this processor."""
    found = read_record(choice)
    if found is None or found.get("processor") != processor_id():
        return None  # absent, damaged or from before: measure again
    return str(found.get("runtime"))


def _write_choice(choice: Path, best: str, seconds: dict[str, float]) -> None:
    found = {
        "runtime": best,
        "processor": processor_id(),
        "milliseconds": {name: round(value * 1e3, 3) for name, value in seconds.items()},
        "versions": {package: version(package) for package in ("torch", "onnxruntime", "numpy")},
    }
    write_record(choice, found)


def _format_seconds(seconds: dict[str, float], count: int) -> str:
    found = ", ".join(f"{name} {taken / count * 1e3:.1f} ms" for name, taken in seconds.items())
    return f"{found} an item, {_format_size(count)}"


def _format_size(count: int) -> str:
    return f"{count} at a time"
