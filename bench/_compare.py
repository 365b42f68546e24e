"""Time callables against each other, and print a table of times and ratios.

Rounds are interleaved in one process, so that every contestant meets the same load of the machine.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from percepts import runtimes


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant: medians of wall and CPU seconds a call, and how many times faster it is than the baseline.

    The ratio is the median of the rounds' own ratios of CPU seconds, with its least and greatest beside it.
    """

    name: str
    wall: float
    cpu: float
    ratio: float
    least: float
    greatest: float


def compare(
    contestants: Mapping[str, Callable[[], object]], rounds: int = 5, *, title: str = "", repeat: int = 1
) -> list[Row]:
    """Time each contestant once a round, A B C A B C…, after one call of each that does not count; print the table.

    The first is the baseline. `repeat` calls make one timing, for what takes less than some milliseconds. CPU seconds
    are those of this process, all threads, user and system.
    """
    for call in contestants.values():
        call()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            times[name].append(_time(call, repeat))
    base = [cpu for _, cpu in next(iter(times.values()))]
    rows = [_row(name, taken, base) for name, taken in times.items()]
    show(rows, title)
    return rows


def settle(call: Callable[[], object]) -> None:
    """Let `auto` choose the runtime of this call's network now; it begins with torch."""
    runtimes.TUNE_AFTER_S = 0.0
    call()
    call()


def show(rows: list[Row], title: str) -> None:
    """Print a table in Markdown."""
    print(f"\n{title or 'what'} | wall ms | CPU ms | times faster (least to greatest)")
    print("--- | ---: | ---: | ---")
    for row in rows:
        spread = f"{row.ratio:.2f} ({row.least:.2f} to {row.greatest:.2f})"
        print(f"{row.name} | {row.wall * 1e3:.2f} | {row.cpu * 1e3:.2f} | {spread}")


def machine() -> str:
    """Name what the figures were measured on: speed depends on the processor's instructions, int8's most of all."""
    vector = torch.backends.cpu.get_cpu_capability() + (" with VNNI" if torch.cpu._is_vnni_supported() else "")
    where = f"{platform.machine()}, {vector}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return f"{where}, Python {platform.python_version()}, torch {torch.__version__}"


def _time(call: Callable[[], object], repeat: int) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - wall) / repeat, (time.process_time() - cpu) / repeat


def _row(name: str, taken: list[tuple[float, float]], base: list[float]) -> Row:
    ratios = [b / max(cpu, 1e-9) for b, (_, cpu) in zip(base, taken, strict=True)]
    wall, cpu = (statistics.median(column) for column in zip(*taken, strict=True))
    return Row(name, wall, cpu, statistics.median(ratios), min(ratios), max(ratios))
