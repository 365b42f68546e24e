"""Describe a network for the runtimes: how to build it, its inputs, and the key of its graph in the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..types import Inputs

if TYPE_CHECKING:
    import torch

Runner = Callable[[Inputs], tuple[np.ndarray, ...]]
"""What a runtime makes: a function from a batch of inputs by name to a tuple of outputs, the batch on the first axis.

A row gets the same bits in whatever batch it is.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network that has not been loaded.

    Attributes:
        name: name for files and messages.
        key: changes whenever the numbers may change: digest of the weights and revision of the code.
        build: function that makes the module in eval mode with its weights. Only this needs torch and the weights.
        example: inputs of one item, with a batch axis, in the order of the module's arguments.
        outputs: names of the outputs, in the order in which the module returns them.
        free: for each input the axes of variable length, without the batch, and the names of these lengths.
        rows: rows that torch runs in a call. Above 1 the last bits of a row may depend on the other rows.
        candidates: runtimes that `auto` chooses from. Empty: every runtime that is installed.
        precision: "float32"; "int8" for the linear layers, on the CPU; "bfloat16", on a GPU.
    """

    name: str
    key: str
    build: Callable[[], torch.nn.Module]
    example: Inputs
    outputs: tuple[str, ...]
    free: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    rows: int = 1
    candidates: tuple[str, ...] = ()
    precision: str = "float32"

    def build_module(self) -> torch.nn.Module:
        """Build the module. The random numbers of the caller do not change."""
        import torch  # late, so that a network is described without it

        # a module first draws random weights, which those of the checkpoint then replace
        with torch.random.fork_rng(devices=[]):
            return self.build()


def split_rows(inputs: Inputs) -> list[dict[str, np.ndarray]]:
    """Split a batch into batches of one row. Raises ValueError for an empty batch."""
    return split_batch(inputs, 1)


def stack_rows(outputs: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """Join the outputs of several batches into one batch per output."""
    return tuple(np.concatenate(parts) for parts in zip(*outputs, strict=True))


def split_batch(inputs: Inputs, size: int) -> list[dict[str, np.ndarray]]:
    """Split a batch into batches of at most `size` rows. Raises ValueError for an empty batch."""
    count = len(next(iter(inputs.values())))
    if not count:
        raise ValueError("expected a batch of at least one item, got none")
    return [{name: value[i : i + size] for name, value in inputs.items()} for i in range(0, count, size)]


TRUST = 1e-3
"""Largest allowed error, as a share of the largest number of an output. Kernels differ by a hundredth of it."""


def describe_deviation(outputs: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> str:
    """Return how the outputs of a runtime differ from those of torch; "" where they differ by rounding only."""
    for ours, theirs in zip(outputs, expected, strict=True):
        largest = max(float(np.abs(theirs).max()), 1e-6)  # an output of zeros has no scale
        off = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else float("inf")
        if not off <= TRUST * largest:  # not `>`, which is False for NaN
            return f"differs from torch by {off:.2g}, of values up to {largest:.2g}"
    return ""
