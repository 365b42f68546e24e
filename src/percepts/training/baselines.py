"""Coordinate the processes that `accelerate launch` starts, one per device: their rank, means over all, and waiting."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import torch

from ..errors import MissingExtra


class Processes:
    """The processes of this training: one, unless `accelerate launch` or torchrun sets WORLD_SIZE."""

    def __init__(self) -> None:
        # torchrun and accelerate both set WORLD_SIZE; without it nothing of accelerate is imported.
        self.count, self.rank, self._accelerator = int(os.environ.get("WORLD_SIZE", "1")), 0, None
        if self.count > 1:
            self._accelerator = _make_accelerator()
            self.rank = int(self._accelerator.process_index)

    @property
    def first(self) -> bool:
        """True for the one process that writes files."""
        return self.rank == 0

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean of a value over all processes, to each of them."""
        if self._accelerator is None:
            return value
        # A reduce of our own instead of DistributedDataParallel: the loop stays the same for one process.
        found: torch.Tensor = self._accelerator.reduce(value, "mean")
        return found

    def wait_for_all(self) -> None:
        """Wait until all processes have come to this point."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()


@cache
def find_processes() -> Processes:
    """Return the processes of this training; made once, before the first model is put on a device."""
    return Processes()


def _make_accelerator() -> Any:
    try:
        from accelerate import Accelerator
    except ModuleNotFoundError as error:
        raise MissingExtra("several devices need accelerate: pip install 'percepts[train]'") from error
    return Accelerator()
