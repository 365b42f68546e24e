"""Clips in, clips out: a stream cut by time (`fixed`, `every`, `speech`), a picture by place (`split`, `merge`)."""

from __future__ import annotations

from .contiguous import check_contiguous
from .every import sample_frames
from .fixed import Tail, cut_fixed_windows
from .patches import Cover, Mode, Patches, grid_view, merge_patches, split_grid, split_patches
from .speech import Energy, SpeechRules, cut_speech

__all__ = [
    "Cover",
    "Energy",
    "Mode",
    "Patches",
    "SpeechRules",
    "Tail",
    "check_contiguous",
    "cut_fixed_windows",
    "cut_speech",
    "grid_view",
    "merge_patches",
    "sample_frames",
    "split_grid",
    "split_patches",
]  # fmt: skip
