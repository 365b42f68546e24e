"""A hub id or a folder → a Spec: the family by its config.json's model_type, the facts from its settings alone."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import UnknownModel
from ..types import Spec
from ._checkpoint import Checkpoint, digest, located

FAMILIES: Mapping[str, str] = {
    "vit": ".vit:Vit",
    "deit": ".vit:Deit",
    "beit": ".vit:Beit",
    "data2vec-vision": ".vit:Beit",
    "dinov2": ".dino:Dino2",
    "dinov2_with_registers": ".dino:Dino2Registers",
    "dinov3_vit": ".dino:Dino3",
    "clip": ".clip:Clip",
    "siglip": ".siglip:Siglip",
    "siglip2": ".siglip:Siglip2",
    "bert": ".sentence:Sentence",
    "roberta": ".sentence:Sentence",
    "xlm-roberta": ".sentence:Sentence",
    "distilbert": ".sentence:Sentence",
    "mpnet": ".sentence:Sentence",
    "whisper": ".whisper:Whisper",
    "audio-spectrogram-transformer": ".ast:Ast",
    "wav2vec2": ".wav2vec2:Wav2Vec2",
    "hubert": ".wav2vec2:Wav2Vec2",
    "wavlm": ".wav2vec2:Wav2Vec2",
    "clap": ".clap:Clap",
    "videomae": ".videomae:VideoMae",
    "timesformer": ".videomae:TimeSformer",
    "imagegpt": ".imagegpt:ImageGpt",
    "fuyu": ".fuyu:Fuyu",
}
"""model_type as config.json says it → the class that encodes it; its `describe(checkpoint)` gives a Spec's fields."""

NAMED: Mapping[str, Spec] = {
    row.name: row
    for row in (
        Spec(
            "clip-b32", ".clip:Clip", "image", 0.0, 0.0, 512, "l2mean", ("openai/clip-vit-base-patch32@3d74acf",),
            "MIT", size=224, summary="CLIP ViT-B/32: pictures and text in one space",
        ),
        Spec(
            "vit-b16", ".vit:Vit", "image", 0.0, 0.0, 768, "cls", ("google/vit-base-patch16-224@3f49326",),
            "Apache-2.0", size=224, summary="ViT-B/16, ImageNet-21k and 1k: pictures",
        ),
        Spec(
            "w2v2-base", ".wav2vec2:Wav2Vec2", "audio", 16000.0, 20.0, 768, "mean",
            ("facebook/wav2vec2-base-960h@22aad52",), "Apache-2.0",
            summary="wav2vec 2.0 base: speech, a state every 20 ms",
        ),
        Spec(
            "clap-fused", ".clap:Clap", "audio", 48000.0, 10.0, 512, "l2mean", ("laion/clap-htsat-fused@cca9e28",),
            "Apache-2.0", summary="CLAP, HTS-AT: sound and text in one space",
        ),
        Spec(
            "videomae-b", ".videomae:VideoMae", "video", 7.5, 16 / 7.5, 768, "mean",
            ("MCG-NJU/videomae-base-finetuned-kinetics@488eb9a",), "CC-BY-NC-4.0", size=224,
            summary="VideoMAE base, Kinetics-400: windows of 16 frames",
        ),
    )
}  # fmt: skip
"""Checkpoints with a short name, pinned to the revisions that transformers 5.23 pins for its own pipelines."""


def resolve(name: str) -> Spec | None:
    """The Spec of a hub id ("owner/name", "owner/name@revision") or folder; None where it is neither.

    A folder's encoder is called by the folder's name and eight digits of its contents' digest, so that two folders of
    one name can stand beside each other, and a folder that is moved keeps its name.
    Raises UnknownModel for a model_type of no family, WeightsError where there is nothing to read.
    """
    if name in NAMED:
        return NAMED[name]
    where = located(name)
    if where is None:
        return None
    checkpoint = Checkpoint.named(where)
    target = _family(checkpoint, name)
    module, _, attribute = target.partition(":")
    facts: dict[str, Any] = getattr(import_module(module, __package__), attribute).describe(checkpoint)
    called = f"{Path(where).name}@{digest(where)[:8]}" if Path(where).is_absolute() else name
    summary = f"{checkpoint.model_type} checkpoint {name}"
    return Spec(**{"name": called, "target": target, "weights": (where,), "license": checkpoint.license,
                   "summary": summary} | facts)  # fmt: skip


def _family(checkpoint: Checkpoint, name: str) -> str:
    if checkpoint.model_type not in FAMILIES:
        raise UnknownModel(
            f"{name}: no family for model_type {checkpoint.model_type!r} (config.json); "
            f"there are: {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[checkpoint.model_type]
