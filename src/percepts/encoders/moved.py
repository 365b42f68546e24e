"""Translate the class paths that job directories of percepts 0.1 hold to where the classes are now."""

from __future__ import annotations

from collections.abc import Mapping

MOVED: Mapping[str, str] = {
    ".ast": ".hub.ast",
    ".clap": ".hub.clap",
    ".clip": ".hub.clip",
    ".conse": ".builtin.conse",
    ".dino": ".hub.dino",
    ".effnet": ".builtin.effnet",
    ".fake": ".builtin.fake",
    ".fuyu": ".hub.fuyu",
    ".ge2e": ".builtin.ge2e",
    ".head": ".builtin.head",
    ".imagegpt": ".hub.imagegpt",
    ".melstats": ".builtin.melstats",
    ".minilm": ".builtin.minilm",
    ".openl3": ".builtin.openl3",
    ".sentence": ".hub.sentence",
    ".siglip": ".hub.siglip",
    ".videomae": ".hub.videomae",
    ".vit": ".hub.vit",
    ".wav2vec2": ".hub.wav2vec2",
    ".whisper": ".hub.whisper",
    "percepts.decoders.answerer": "percepts.vlm.vqa",
    "percepts.decoders.captioner": "percepts.vlm.captioning",
    "percepts.decoders.chat": "percepts.vlm.chat",
    "percepts.decoders.document:Donut": "percepts.vlm.documents.donut",
    "percepts.decoders.document:LayoutLM": "percepts.vlm.documents.layoutlm",
    "percepts.decoders.document:LayoutLM3": "percepts.vlm.documents.layoutlm",
    "percepts.decoders.fuyu": "percepts.vlm.fuyu",
    "percepts.decoders.tapas": "percepts.vlm.tables.tapas",
}
"""A module of percepts 0.1, or one class of it, and the module of today. To be dropped with 0.3.0."""


def current_target(target: str) -> str:
    """Return "module:Class" as it is called today.

    >>> current_target(".vit:Vit"), current_target("elsewhere.module:Encoder")
    ('.hub.vit:Vit', 'elsewhere.module:Encoder')
    """
    module, _, name = target.partition(":")
    full = f"percepts.encoders{module}" if module.startswith(".") else module
    short = full.removeprefix("percepts.encoders") if full.startswith("percepts.encoders.") else full
    # A class by itself first: `decoders.document` was split in two.
    new = MOVED.get(target) or MOVED.get(short)
    return f"{new}:{name}" if new else target
