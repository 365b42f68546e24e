"""List how the authors of AST trained it. Source: github.com/YuanGongND/ast, egs/*/run*.sh, and its README."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .plan import Plan

Task = Literal["single", "multi", "regression"]
"""One label a source (cross-entropy), any number (binary cross-entropy), a number (squared error)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything about a training except the data.

    task       what a label is
    max_length frames of 10 ms in a window; 0: as the checkpoint has
    mean, std  of the log filter banks; None: measured on the training data
    freq_mask, time_mask   the widest band and stretch that SpecAugment masks, in bands and frames
    mixup      share of examples that are mixed with another one
    noise      add noise, and roll the window by up to 10 frames
    balanced   draw sources so that every label comes equally often
    binary     train with binary cross-entropy although each source has one label, as Speech Commands does
    """

    task: Task
    plan: Plan
    max_length: int = 0
    mean: float | None = None
    std: float | None = None
    freq_mask: int = 0
    time_mask: int = 0
    mixup: float = 0.0
    noise: bool = False
    balanced: bool = False
    binary: bool = False


RECIPES: Mapping[str, Recipe] = {
    "plain": Recipe("single", Plan(epochs=10, batch_size=16, lr=1e-5)),
    "audioset": Recipe(
        "multi", Plan(epochs=5, batch_size=12, lr=1e-5, warmup=0.0012, schedule="step", decay=0.5, decay_from=2,
                      weight_decay=5e-7, average_from=0),
        1024, -4.2677393, 4.5689974, 48, 192, 0.5, balanced=True,
    ),
    "audioset-balanced": Recipe(
        "multi", Plan(epochs=25, batch_size=12, lr=5e-5, warmup=0.024, schedule="step", decay=0.5, decay_from=10,
                      decay_every=5, weight_decay=5e-7, average_from=5),
        1024, -4.2677393, 4.5689974, 48, 192, 0.5,
    ),
    "esc-50": Recipe(
        "single", Plan(epochs=25, batch_size=48, lr=1e-5, warmup=0.0, schedule="step", decay=0.85, decay_from=5,
                       weight_decay=5e-7),
        512, -6.6268077, 5.358466, 24, 96,
    ),
    "speech-commands": Recipe(
        "single", Plan(epochs=30, batch_size=128, lr=2.5e-4, warmup=0.0, schedule="step", decay=0.85, decay_from=5,
                       weight_decay=5e-7),
        128, -6.845978, 5.5654526, 48, 48, 0.6, noise=True, binary=True,
    ),
}  # fmt: skip
"""ESC-50's rate is that for a checkpoint of AudioSet; from one of ImageNet it is 1e-4. "plain": any other data, a rate
ten times smaller than a convolutional network's, as the authors advise. AudioSet's warm-up is theirs of 1000 steps."""
