"""Choose the fastest runtime for a network on this machine at a size of batch. The choice is kept beside the graph."""

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

MARGIN = 1.25
"""How many times faster a later candidate must be. Below this the order of two runtimes changes from run to run."""
HOPELESS = 3.0
"""A candidate that was this many times slower than the best is not measured again."""
REPEATS = 3
QUICK = 0.010
"""Seconds an item. A network that is this fast in torch, which needs no graph, is not exported: an export takes ten
seconds or more, the time of a thousand items."""


def choose_fastest(
    network: Network, candidates: Sequence[str], make: Callable[[str], Runner], choice: Path, batch: Inputs
) -> tuple[str, Runner | None]:
    """Return the name of the fastest of `candidates` at `batch`, and its runner if it was measured now, else None.

    A candidate must be faster than those before it by a factor of MARGIN. The choice is kept in the file `choice`. It
    holds while that runtime is installed and the processor is the same, so that a resumed job gets the same bits.
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
        # runtimes in int8 differ by more than rounding, and have a check of their own
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
    """Make the runners that can be made. An exporter may not know an operation; then the first candidate still runs."""
    runners = {}
    for name in names:
        try:
            runners[name] = make(name)
        except Exception as error:
            log.warning("%s is left out: %s: %s", name, type(error).__name__, str(error).partition("\n")[0])
    return runners


def _drop_deviating(runners: dict[str, Runner], batch: Inputs) -> dict[str, Runner]:
    """Return the runners whose outputs match torch on a real batch, and not only on the example."""
    expected = runners["torch"](batch)
    matching = {}
    for name, run in runners.items():
        if why := describe_deviation(run(batch), expected):
            log.warning("%s is left out: it %s", name, why)
        else:
            matching[name] = run
    return matching


def _measure(runners: dict[str, Runner], batch: Inputs) -> dict[str, float]:
    """Return the seconds for a batch by runner: the best of interleaved repeats after a run to warm up."""
    for run in runners.values():  # the first call allocates memory, and some runtimes compile in it
        run({name: value[:1] for name, value in batch.items()})
    best = dict.fromkeys(runners, float("inf"))
    for _ in range(REPEATS):  # interleaved, so that a change of load on the machine hits all candidates
        for name, run in runners.items():
            if HOPELESS * min(best.values()) < best[name] < float("inf"):
                continue
            best[name] = min(best[name], _time_batch(run, batch))
    return best


def _time_batch(run: Runner, batch: Inputs) -> float:
    """Return the seconds for a batch: by the clock, or of CPU time where that is less."""
    # on a busy machine the clock also counts the time of waiting for a core
    clock, used = time.perf_counter(), time.process_time()
    run(batch)
    return min(time.perf_counter() - clock, time.process_time() - used)


def read_choice(choice: Path) -> str | None:
    """Return the runtime that was chosen on this processor; None where there is no such choice."""
    record = read_record(choice)
    if record is None or record.get("processor") != processor_id():
        return None  # absent, damaged or of another processor: measure again
    return str(record.get("runtime"))


def _write_choice(choice: Path, best: str, seconds: dict[str, float]) -> None:
    record = {
        "runtime": best,
        "processor": processor_id(),
        "milliseconds": {name: round(value * 1e3, 3) for name, value in seconds.items()},
        # for people who read the file; a choice holds across versions
        "versions": {package: version(package) for package in ("torch", "onnxruntime", "numpy")},
    }
    write_record(choice, record)


def _format_seconds(seconds: dict[str, float], count: int) -> str:
    times = ", ".join(f"{name} {taken / count * 1e3:.1f} ms" for name, taken in seconds.items())
    return f"{times} an item, {_format_size(count)}"


def _format_size(count: int) -> str:
    return f"{count} at a time"
