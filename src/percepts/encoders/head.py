"""A head that `percepts train head` made: the vectors of an encoder → probabilities of the labels it learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import WeightsError
from ..types import Clip, Encoder, Frames, Inputs, Spec
from ._checkpoint import Checkpoint
from ._scores import probabilities
from .pooling import vectors

MODEL_TYPE = "percepts-head"
WEIGHTS = "head.safetensors"


class Head:
    """An encoder with labels: prepares and encodes as the encoder it was trained on, and classifies its vectors."""

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        self.spec = spec
        self._checkpoint = Checkpoint.named(spec.weights[0])
        self._asked = {"runtime": runtime, "threads": threads}

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """The fields of a Spec: those of its encoder, and what both are made of."""
        inner = _encoder(checkpoint)
        kept = {name: getattr(inner, name) for name in ("kind", "rate", "window", "dim", "pool", "size", "extra")}
        names = checkpoint.config.get("labels", ())
        return {**kept, "weights": (str(checkpoint.folder), *inner.weights), "license": inner.license,
                "summary": f"{len(names)} labels on the vectors of {inner.name}"}  # fmt: skip

    @property
    def runtime(self) -> str:
        """What runs its encoder."""
        return str(getattr(self.encoder, "runtime", ""))

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder whose vectors it was trained on."""
        from . import load

        return load(_encoder(self._checkpoint), runtime=str(self._asked["runtime"]))

    @property
    def labels(self) -> tuple[str, ...]:
        """One name per class."""
        return tuple(self._checkpoint.config["labels"])

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """As its encoder does."""
        return self.encoder.prepare(clips)

    def encode(self, inputs: Inputs) -> Frames:
        """As its encoder does."""
        return self.encoder.encode(inputs)

    @property
    def multi(self) -> bool:
        """Whether several labels may be right."""
        return bool(self._checkpoint.config["task"] == "multi")

    def logits(self, inputs: Inputs) -> np.ndarray:
        """(B, len(labels)) float32 scores."""
        return forward(self._weights, vectors(self.encoder, inputs)).astype(np.float32)

    def classify(self, inputs: Inputs) -> np.ndarray:
        """(B, len(labels)) float32; they sum to one where one label holds, and are each their own where several may."""
        return probabilities(self.logits(inputs), self.multi)

    @cached_property
    def _weights(self) -> dict[str, np.ndarray]:
        from safetensors.numpy import load_file

        return dict(load_file(self._checkpoint.folder / WEIGHTS))


def forward(weights: Mapping[str, np.ndarray], vectors: np.ndarray) -> np.ndarray:
    """(B, D) to (B, C) scores: standardise, then linear layers 0, 1, … with a ReLU before each but the first."""
    x: np.ndarray = (vectors - weights["mean"]) / weights["scale"]
    for i in range(sum(name.endswith(".weight") for name in weights)):
        x = (np.maximum(x, 0) if i else x) @ weights[f"{i}.weight"].T + weights[f"{i}.bias"]
    return x


def _encoder(checkpoint: Checkpoint) -> Spec:
    from . import spec

    if "encoder" not in checkpoint.config:
        raise WeightsError(f"{checkpoint.folder}: its config.json does not say whose vectors this head is for")
    return spec(checkpoint.config["encoder"], **checkpoint.config.get("asked", {}))
