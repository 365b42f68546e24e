"""Limit the memory of this process while a command decodes files in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import typer

from ..support.machine import limit_data, machine_memory

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

VARIABLE = "PERCEPTS_MEMORY"
"""Name of the environment variable that sets another limit: bytes, or with k, M, G; 0 sets none."""
MACHINE_PART = 0.75
"""Part of the machine's memory that a command may use; the rest is for other programs."""
UNUSED_BYTES = 1536 << 20
"""Address space that counts against the limit and takes no memory: pyarrow's allocator maps 1 GiB at a time, and each
thread has a stack of 8 MiB. The default embed and search were measured at 1.4 GB of it, with 0.4 GB in memory."""
LEAST_BYTES = 4 << 30
"""No machine gets a lower limit: below this, models that fit it may not start."""
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def with_memory_limit(command: Callable[..., None]) -> Callable[..., None]:
    """Limit the memory of this process while a command decodes files in it.

    A job with worker processes is left alone: each worker has a limit of its own, and this process runs the model only.
    """

    @wraps(command)
    def run_command(**given: Any) -> None:
        # workers=0 decodes in this process, and so does a command without a job directory.
        if given.get("workers") != 0 and given.get("output") is not None and "workers" in given:
            command(**given)
            return
        with limit_memory():
            command(**given)

    return run_command


@contextmanager
def limit_memory() -> Iterator[None]:
    """Hold this process to `command_memory` bytes while the context lasts; a lower limit of the system stays.

    The soft limit is changed and set back, so a program that calls the command line in its own process keeps its own.
    """
    limit = command_memory()
    if resource is None or limit is None:
        yield
        return
    # Not RLIMIT_AS, which counts files that are mapped, such as the weights of a model.
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit_data(limit)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def command_memory() -> int | None:
    """Return the bytes of address space that a command may use in this process; None for no limit.

    That is what PERCEPTS_MEMORY says (0: no limit). Without it there is no limit where an NVIDIA driver is loaded;
    elsewhere it is three quarters of the memory of the machine or container, with UNUSED_BYTES added,
    and at least LEAST_BYTES.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if given:
        return _parse_bytes(given) or None  # 0 sets no limit
    if Path("/dev/nvidiactl").exists():
        return None  # CUDA maps address space as large as the GPU's memory, which this limit may count
    return max(LEAST_BYTES, int(machine_memory() * MACHINE_PART) + UNUSED_BYTES)


def _parse_bytes(text: str) -> int:
    """Return a number of bytes.

    >>> _parse_bytes("1.5G"), _parse_bytes("500M"), _parse_bytes("0")
    (1610612736, 524288000, 0)
    """
    # 6G, 6GB and 6GiB are all written, and mean the same here.
    number, unit = text.rstrip("bB").rstrip("iI"), ""
    if number and number[-1].lower() in "kmg":
        number, unit = number[:-1], number[-1].lower()
    try:
        count = float(number) * _UNITS[unit]
        if not 0 <= count < 1 << 63:  # what setrlimit can take; NaN fails, too
            raise ValueError(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{VARIABLE}: expected bytes, such as 6G or 500M, or 0 for no limit; got {text!r}"
        ) from error
    return int(count)
