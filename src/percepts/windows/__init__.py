"""Clips in, clips out: a stream cut by time (`fixed`, `every`), a picture cut by place (`split`, `merge`)."""

from __future__ import annotations

from .contiguous import contiguous
from .every import every
from .fixed import Tail, fixed
from .patches import Cover, Mode, Patches, grid_view, merge, split, split_grid

__all__ = [
    "Cover", "Mode", "Patches", "Tail", "contiguous", "every", "fixed", "grid_view", "merge", "split", "split_grid",
]  # fmt: skip
