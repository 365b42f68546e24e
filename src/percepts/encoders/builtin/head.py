"""Classify the vectors of an encoder with a head that `percepts train head` made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import WeightsError
from ...support.checkpoint_settings import MAX_SIDE, OBJECT, TEXT, Rule, check_values, list_of, number, whole_number
from ...types import Clip, Encoder, Features, Inputs, Spec
from ...weights.checkpoint import Checkpoint, is_checkpoint, is_present
from ..pooling import encode_vectors
from ..scores import scores_to_probabilities

MODEL_TYPE = "percepts-head"
WEIGHTS = "head.safetensors"


class Head:
    """An encoder with labels: it prepares and encodes as the encoder it was trained on, and classifies its vectors."""

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        self.spec = spec
        self._checkpoint = Checkpoint.open(spec.weights[0])
        self._options = {"runtime": runtime, "threads": threads}

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the fields of a Spec: those of its encoder, with the weights of both."""
        # The folder may come from anybody.
        check_values(checkpoint.config, checkpoint.config.path, rules=_RULES)
        inner = _find_encoder_spec(checkpoint)
        kept = {name: getattr(inner, name) for name in ("kind", "rate", "window", "dim", "pool", "size", "extra")}
        names = checkpoint.config["labels"]
        return {**kept, "weights": (str(checkpoint.folder), *inner.weights), "license": inner.license,
                "summary": f"{len(names)} labels on the vectors of {inner.name}"}  # fmt: skip

    @property
    def runtime(self) -> str:
        """Runtime of its encoder."""
        return str(getattr(self.encoder, "runtime", ""))

    @cached_property
    def encoder(self) -> Encoder:
        """Encoder whose vectors it was trained on."""
        from .. import load_encoder

        return load_encoder(_find_encoder_spec(self._checkpoint), runtime=str(self._options["runtime"]))

    @property
    def labels(self) -> tuple[str, ...]:
        """One name per class."""
        return tuple(self._checkpoint.config["labels"])

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Do what its encoder does."""
        return self.encoder.prepare(clips)

    def encode(self, inputs: Inputs) -> Features:
        """Do what its encoder does."""
        return self.encoder.encode(inputs)

    @property
    def multi_label(self) -> bool:
        """Whether several labels may be right."""
        return bool(self._checkpoint.config["task"] == "multi")

    def logits(self, inputs: Inputs) -> np.ndarray:
        """Return (B, len(labels)) float32 scores."""
        return forward(self._weights, encode_vectors(self.encoder, inputs)).astype(np.float32)

    def classify(self, inputs: Inputs) -> np.ndarray:
        """Return (B, len(labels)) float32 probabilities, which sum to one unless several labels may hold."""
        return scores_to_probabilities(self.logits(inputs), self.multi_label)

    @cached_property
    def _weights(self) -> dict[str, np.ndarray]:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self._checkpoint.folder / WEIGHTS
        try:
            found = dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path}: cannot be read: {error}") from error
        _check_shapes(found, self.spec.dim, len(self.labels), path)
        return found


def forward(weights: Mapping[str, np.ndarray], vectors: np.ndarray) -> np.ndarray:
    """Return (B, C) scores of (B, D) vectors: standardise, then linear layers with a ReLU before each but the first."""
    x: np.ndarray = (vectors - weights["mean"]) / weights["scale"]
    # Layers are numbered: 0.weight, 0.bias, 1.weight and so on.
    for i in range(sum(name.endswith(".weight") for name in weights)):
        x = (np.maximum(x, 0) if i else x) @ weights[f"{i}.weight"].T + weights[f"{i}.bias"]
    return x


def _check_shapes(weights: Mapping[str, np.ndarray], dim: int, classes: int, path: Path) -> None:
    """Raise WeightsError unless the layers lead from vectors of the encoder to its labels."""
    count, width = sum(name.endswith(".weight") for name in weights), dim
    wanted: dict[str, tuple[int, ...]] = {"mean": (dim,), "scale": (dim,)}
    for i in range(count):
        rows = classes if i == count - 1 else len(weights.get(f"{i}.bias", ()))
        wanted |= {f"{i}.weight": (rows, width), f"{i}.bias": (rows,)}
        width = rows
    if wrong := [name for name, shape in wanted.items() if name not in weights or weights[name].shape != shape]:
        found = weights[wrong[0]].shape if wrong[0] in weights else "nothing"
        raise WeightsError(f"{path}: expected {wrong[0]} of shape {wanted[wrong[0]]}, got {found}")
    if not count or not all(np.isfinite(w).all() for w in weights.values()) or not weights["scale"].all():
        raise WeightsError(f"{path}: expected at least one layer, of finite numbers, and no scale of 0")


_RULES: Mapping[str, Rule] = {
    "encoder": TEXT,
    "labels": list_of(TEXT),
    "task": Rule(lambda x: x in ("single", "multi"), "single or multi"),
    "asked": OBJECT,
    "pool": TEXT,
    "precision": TEXT,
    "size": whole_number(0, MAX_SIDE),
    "window": number(0, 3600),
}
"""Keys that the config.json of a head may have."""


def _find_encoder_spec(checkpoint: Checkpoint) -> Spec:
    """Return the Spec of the encoder that a head names; a head fetches nothing that only it names."""
    from .. import model_spec

    asked = checkpoint.config.get("asked") or {}
    if unknown := set(asked) - {"pool", "size", "window", "precision"}:
        raise WeightsError(f"{checkpoint.config.path}: expected asked to hold pool, size, window or precision, "
                           f"got {', '.join(sorted(unknown))[:80]}")  # fmt: skip
    try:
        # ValueError: an encoder that is no Hugging Face model has no other settings than its own.
        found = model_spec(_read_encoder_name(checkpoint), **asked)
    except ValueError as error:
        raise WeightsError(f"{checkpoint.config.path}: {error}") from error
    # A head of a head would have no vectors of its own.
    if found.target.endswith(".builtin.head:Head"):
        raise WeightsError(f"{checkpoint.config.path}: expected an encoder, {found.name} is a head itself")
    return found


def _read_encoder_name(checkpoint: Checkpoint) -> str:
    """Return the name of the encoder as `model_spec` takes it. WeightsError where it would have to be fetched.

    The folder of a head may come from anybody, and a name in it must not decide what is downloaded: the encoders that
    percepts knows by name are fetched, since their rows are ours; a folder or a repository must be on this machine.
    """
    from .. import list_hub_models, list_models

    said = str(checkpoint.config["encoder"])
    if said in list_hub_models() or said in list_models():
        return said
    inside = checkpoint.folder / said
    # Joining an absolute path would drop the folder before it.
    path = inside.resolve() if not os.path.isabs(said) and inside.is_dir() else Path(said)
    if path.is_absolute() and path.is_dir():
        if _is_head(path):
            raise WeightsError(f"{checkpoint.config.path}: expected an encoder, {said} is a head itself")
        return str(path)
    repository, _, revision = said.partition("@")
    if is_checkpoint(said) and not path.is_absolute() and is_present(f"{repository}@{revision or 'main'}"):
        return said
    cure = f"fetch it first, if you trust it: percepts models --fetch {said}" if is_checkpoint(said) else (
        f"there is no encoder of that name; there are {', '.join(list_models())}"
    )  # fmt: skip
    cure = "put that folder back, or train the head again" if path.is_absolute() else cure
    raise WeightsError(f"{checkpoint.folder}: this head is for the vectors of {said!r}, which is not here: {cure}")


def _is_head(folder: Path) -> bool:
    """Return whether a folder is a head itself; without the check one that names itself would never end."""
    return Checkpoint(folder).model_type == MODEL_TYPE
