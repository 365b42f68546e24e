"""A network as the runtimes see it: what builds it, what goes in, and the key under which its graph is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..types import Inputs

if TYPE_CHECKING:
    import torch

Runner = Callable[[Inputs], tuple[np.ndarray, ...]]
"""The one contract: a batch of inputs by name to outputs in order, the batch on the first axis of each.

A row comes out bit-identical whatever batch it came in.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network that has not been loaded.

    name     for file names and messages
    key      changes whenever its numbers may: weights digest and revision of the code
    build    makes the module in eval mode, its weights loaded; the only step that needs torch and the weights
    example  one item, batch axis included; the inputs in the order of the module's arguments
    outputs  names, in the order the module returns them
    free     per input, the axes after the batch whose length varies, and the name of that length
    rows     how many rows torch takes a call. Above 1 the last bits of a row may depend on its company
    candidates   what `auto` chooses between; none: every runtime that is installed
    precision   "float32"; "int8" for the linear layers, on the CPU; "bfloat16", on a GPU
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
        """The module. It draws random weights before its own replace them: the caller's generator does not move."""
        import torch

        with torch.random.fork_rng(devices=[]):
            return self.build()


def split_rows(inputs: Inputs) -> list[dict[str, np.ndarray]]:
    """The batch as batches of one. Raises ValueError for an empty one."""
    return split_batch(inputs, 1)


def stack_rows(outputs: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """Batches of one, back into one batch per output."""
    return tuple(np.concatenate(parts) for parts in zip(*outputs, strict=True))


def split_batch(inputs: Inputs, size: int) -> list[dict[str, np.ndarray]]:
    """The batch as batches of at most `size`. Raises ValueError for an empty one."""
    count = len(next(iter(inputs.values())))
    if not count:
        raise ValueError("expected a batch of at least one item, got none")
    return [{name: value[i : i + size] for name, value in inputs.items()} for i in range(0, count, size)]


TRUST = 1e-3
"""Of the largest number of an output: other kernels differ by a hundredth of that in float32."""


def describe_deviation(found: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> str:
    """What is wrong with the outputs of a runtime beside those of torch; "" for nothing but rounding."""
    for ours, theirs in zip(found, expected, strict=True):
        largest = max(float(np.abs(theirs).max()), 1e-6)
        off = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else float("inf")
        if not off <= TRUST * largest:
            return f"differs from torch by {off:.2g}, of values up to {largest:.2g}"
    return ""
