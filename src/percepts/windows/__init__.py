"""Clips in, clips out: a stream cut by time (`fixed`, `every`, `speech`), a picture by place (`split`, `merge`)."""

from __future__ import annotations

from .contiguous import contiguous
from .every import every
from .fixed import Tail, fixed
from .patches import Cover, Mode, Patches, grid_view, merge, split, split_grid
from .speech import Energy, Rules, speech

__all__ = [
    "Cover", "Energy", "Mode", "Patches", "Rules", "Tail", "contiguous", "every", "fixed", "grid_view", "merge",
    "speech", "split", "split_grid",
]  # fmt: skip
