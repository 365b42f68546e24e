"""A hub id or a folder → a Spec: the family by its config.json's model_type, the facts from its settings alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from ...errors import UnknownModel
from ...types import Spec
from ...weights.checkpoint import Checkpoint, hash_checkpoint, is_present, resolve_name
from .catalog import CATALOG

TARGETS = "percepts.encoders"
"""Package that the targets of encoders are relative to."""
FAMILIES: Mapping[str, str] = {
    "vit": ".hub.vit:Vit",
    "deit": ".hub.vit:Deit",
    "beit": ".hub.vit:Beit",
    "data2vec-vision": ".hub.vit:Beit",
    "dinov2": ".hub.dino:Dino2",
    "dinov2_with_registers": ".hub.dino:Dino2Registers",
    "dinov3_vit": ".hub.dino:Dino3",
    "clip": ".hub.clip:Clip",
    "siglip": ".hub.siglip:Siglip",
    "siglip2": ".hub.siglip:Siglip2",
    "bert": ".hub.sentence:Sentence",
    "roberta": ".hub.sentence:Sentence",
    "xlm-roberta": ".hub.sentence:Sentence",
    "distilbert": ".hub.sentence:Sentence",
    "mpnet": ".hub.sentence:Sentence",
    "whisper": ".hub.whisper:Whisper",
    "audio-spectrogram-transformer": ".hub.ast:Ast",
    "wav2vec2": ".hub.wav2vec2:Wav2Vec2",
    "hubert": ".hub.wav2vec2:Wav2Vec2",
    "wavlm": ".hub.wav2vec2:Wav2Vec2",
    "clap": ".hub.clap:Clap",
    "videomae": ".hub.videomae:VideoMae",
    "timesformer": ".hub.videomae:TimeSformer",
    "imagegpt": ".hub.imagegpt:ImageGpt",
    "fuyu": ".hub.fuyu:Fuyu",
    "percepts-head": ".builtin.head:Head",
}
"""model_type as config.json says it → the class that encodes it; its `describe(checkpoint)` gives a Spec's fields."""


def describe_name(name: str) -> Spec | None:
    """The Spec of a hub id ("owner/name", "owner/name@revision") or folder; None where it is neither.

    A folder's encoder is called by the folder's name and eight digits of its contents' digest, so that two folders of
    one name can stand beside each other, and a folder that is moved keeps its name.
    Raises UnknownModel for a model_type of no family, WeightsError where there is nothing to read.
    """
    if name in CATALOG:
        return _pin_revision(CATALOG[name])
    where = resolve_name(name)
    if where is None:
        return None
    checkpoint = Checkpoint.open(where)
    target = _find_family(checkpoint, name)
    module, _, attribute = target.partition(":")
    facts: dict[str, Any] = getattr(import_module(module, TARGETS), attribute).describe(checkpoint)
    called = f"{Path(where).name}@{hash_checkpoint(where)[:8]}" if Path(where).is_absolute() else name
    summary = f"{checkpoint.model_type} checkpoint {name}"
    return Spec(**{"name": called, "target": target, "weights": (where,), "license": checkpoint.license,
                   "summary": summary} | facts)  # fmt: skip


def find_target(row: Spec) -> str:
    """Return the class of a checkpoint: of its row, or of its family. Errors are those of `resolve`."""
    if row.name in CATALOG:
        return CATALOG[row.name].target
    return _find_family(Checkpoint.open(row.weights[0]), row.name)


def _pin_revision(row: Spec) -> Spec:
    """A row of a branch says the commit that is here; nothing is fetched to know of a row."""
    repository, _, revision = row.weights[0].partition("@")
    if revision != "main" or not is_present(row.weights[0]):
        return row
    return replace(row, weights=(resolve_name(repository) or row.weights[0],))


def _find_family(checkpoint: Checkpoint, name: str) -> str:
    if checkpoint.model_type not in FAMILIES:
        raise UnknownModel(
            f"{name}: no family for model_type {checkpoint.model_type!r} (config.json); "
            f"there are: {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[checkpoint.model_type]
