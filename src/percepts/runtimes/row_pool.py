"""Rows of a batch, one at a time, over a few threads: how a row is kept independent of its batch.

Kernels choose their blocking by the shape of the whole batch, so the last bits of a row depend on its company. One row
a call has one shape, hence one result, and a thread per row uses the cores at least as well (effnet-lite0, two cores,
ONNX Runtime: 2.6 ms a picture against 3.5 to 13 for batches of 32 on two threads inside the kernel).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..types import Inputs
from .network import split_rows, stack_rows

One = Callable[[dict[str, np.ndarray]], tuple[np.ndarray, ...]]


SHARE = "PERCEPTS_CORES"
"""Of the environment: how many cores the job that started a process leaves to it."""


def usable_cores() -> int:
    """The cores this process may use: those it is bound to; in a worker of a job its share of them."""
    if share := os.environ.get(SHARE):
        return int(share)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class RowPool:
    """Maps a function of one row over a batch on `threads` threads; the order is kept."""

    def __init__(self, threads: int | None) -> None:
        self.threads = threads or usable_cores()
        self._pool = ThreadPoolExecutor(self.threads, "percepts-rows") if self.threads > 1 else None

    def map(self, one: One, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """`one` of each row of `inputs`, stacked."""
        items = split_rows(inputs)
        each = map if self._pool is None or len(items) == 1 else self._pool.map
        return stack_rows(list(each(one, items)))
