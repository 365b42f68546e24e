"""Check and join the blocks of one audio stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..types import Clip


def check_mono(block: Clip, rate: float | None = None) -> None:
    """Raise ValueError unless the block is audio of one channel, and of this rate in Hz where one is given."""
    if block.kind != "audio" or len(block.data) != 1 or rate not in (None, block.rate):
        at = "" if rate is None else f" at {rate:g} Hz"
        raise ValueError(f"expected audio of one channel{at}, got {block}: mix it down and resample it first")


def check_next(block: Clip, due: float, rate: float) -> None:
    """Raise ValueError unless the block is one channel of this rate and starts when the one before it ended.

    >>> check_next(Clip(np.zeros((1, 160), np.float32), "audio", 16000.0, start=0.01), due=0.01, rate=16000.0)
    """
    check_mono(block)
    # Half a sample: times are floats, and their rounding is no gap.
    if block.rate != rate or abs(block.start - due) * block.rate > 0.5:
        raise ValueError(f"expected the next block at {due:.6f} s and {rate:g} Hz, got {block}")


def join_blocks(blocks: Sequence[Clip]) -> Clip:
    """Join blocks of one stream that follow one another; ValueError where there are none."""
    if not blocks:
        raise ValueError("expected one block or more to join, got none")
    first = blocks[0]
    # A single block is passed on without a copy: most are.
    if len(blocks) == 1:
        return first
    data = np.concatenate([block.data for block in blocks], axis=1)
    return Clip(data, first.kind, first.rate, first.start, first.source)
