"""Run the rows of a batch one at a time on a few threads, so that a row does not depend on its batch.

Kernels choose their block sizes by the shape of the batch, so the last bits of a row would depend on the other rows. A
call with one row has one shape and so one result, and a thread per row uses the cores at least as well (effnet-lite0,
two cores, ONNX Runtime: 2.6 ms an image; batches of 32 on two threads inside the kernel: 3.5 to 13 ms).
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
"""Environment variable with the number of cores that a job gives to this worker process."""


def usable_cores() -> int:
    """Return how many cores this process may use: those it is bound to, or in a worker of a job its share of them."""
    if share := os.environ.get(SHARE):
        return int(share)
    # cpu_count also counts the cores that taskset or a container forbids; macOS and Windows have no affinity here
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class RowPool:
    """A pool of `threads` threads that runs a function on each row of a batch and keeps their order."""

    def __init__(self, threads: int | None) -> None:
        self.threads = threads or usable_cores()
        self._pool = ThreadPoolExecutor(self.threads, "percepts-rows") if self.threads > 1 else None

    def map(self, one: One, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """Call `one` on each row of `inputs`, and return its outputs as one batch."""
        items = split_rows(inputs)
        each = map if self._pool is None or len(items) == 1 else self._pool.map
        return stack_rows(list(each(one, items)))
