"""The families of Hugging Face checkpoints: which class encodes with which `model_type`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...errors import UnknownModel
from ...weights.checkpoint import Checkpoint
from ..resolve import ModelKind, explain_family
from .catalog import CATALOG

FAMILIES: Mapping[str, str] = {
    "vit": ".hub.vit:Vit",
    "deit": ".hub.vit:Deit",
    "beit": ".hub.vit:Beit",
    "data2vec-vision": ".hub.vit:Beit",  # BEiT's layers, trained otherwise
    "dinov2": ".hub.dino:Dino2",
    "dinov2_with_registers": ".hub.dino:Dino2Registers",
    "dinov3_vit": ".hub.dino:Dino3",
    "clip": ".hub.clip:Clip",
    "siglip": ".hub.siglip:Siglip",  # SigLIP 2 of one size says so, too
    "siglip2": ".hub.siglip:Siglip2",  # NaFlex alone
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
"""`model_type` of config.json → the class that encodes with it. Its `describe(checkpoint)` gives fields of a Spec."""
ENCODER = ModelKind(names=(), noun="encoder")


def find_target(checkpoint: Checkpoint, name: str) -> str:
    """Return the class that encodes with a checkpoint. UnknownModel where its family has none."""
    if checkpoint.model_type not in FAMILIES:
        raise UnknownModel(explain_family(name, checkpoint.model_type, ENCODER, sorted(FAMILIES)))
    return FAMILIES[checkpoint.model_type]


def list_short_names(model_types: Collection[str]) -> list[str]:
    """Return the short names of Hugging Face models of these families."""
    targets = {FAMILIES[model_type] for model_type in model_types if model_type in FAMILIES}
    return [name for name, spec in CATALOG.items() if spec.target in targets]
