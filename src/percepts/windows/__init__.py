"""Cut streams by time and images by place; what is cut stays a clip that knows where it belongs.

Streams: `cut_fixed_windows`, `sample_frames`, `cut_speech`. Images: `split_patches`, `merge_patches`.
"""

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
