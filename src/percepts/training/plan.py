"""Describe how long a training runs and how fast it learns: steps, warm-up, decay, validations, patience."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a training runs and how fast it learns.

    steps       number of batches; 0: `epochs` times through the data
    lr          the highest learning rate
    warmup      share of the steps in which the rate rises to it, linearly
    schedule    "cosine" to zero at the end, or "step": times `decay` after epoch number `decay_from`,
                and again every `decay_every` epochs
    every       steps between validations, log lines and checkpoints; 0: once per epoch
    patience    validations without a better score before the run stops; 0: never
    average_from   the final weights are the mean of those after every epoch from this number on; None: the best ones
    """

    steps: int = 0
    epochs: int = 10
    batch_size: int = 16
    lr: float = 1e-3
    warmup: float = 0.03
    schedule: Literal["cosine", "step"] = "cosine"
    decay: float = 0.85
    decay_from: int = 5
    decay_every: int = 1
    weight_decay: float = 0.0
    every: int = 0
    patience: int = 0
    average_from: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"batch_size": 1, "epochs": 1, "decay_every": 1, "steps": 0, "every": 0, "patience": 0}
        if wrong := {name: low for name, low in least.items() if getattr(self, name) < low}:
            raise ValueError(f"expected at least {wrong}, got {', '.join(f'{n}={getattr(self, n)}' for n in wrong)}")
        if not self.lr > 0 or not 0 <= self.warmup < 1:
            raise ValueError(f"expected lr above 0 and warmup from 0 to 1, got {self.lr = } {self.warmup = }")

    def of(self, count: int) -> Plan:
        """Return the plan with `steps` and `every` computed for this number of examples."""
        epoch = -(-count // self.batch_size)
        steps = self.steps or self.epochs * epoch
        return replace(self, steps=steps, every=self.every or min(epoch, steps))

    def factor(self, step: int, count: int) -> float:
        """Return the factor of the learning rate in step number `step`, counted from 0."""
        # Rounded up, so that a warm-up above 0 has at least one step.
        rise = math.ceil(self.warmup * self.steps)
        if step < rise:
            # Plus one: with a rate of 0 the first step would be wasted.
            return (step + 1) / rise
        if self.schedule == "step":
            # Counted in examples: where the last batches are short, it runs ahead of the epochs of `fit`.
            epoch = step * self.batch_size // count
            return float(self.decay ** max(0, (epoch - self.decay_from) // self.decay_every + 1))
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise)))
