"""Find the class that runs a Hugging Face model, by the `model_type` of its config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import UnknownModel
from ..types import Spec
from ..weights.checkpoint import Checkpoint, hash_checkpoint, resolve_name

CHAT_TARGET = ".chat:Chat"
CHAT_MODEL_TYPES: tuple[str, ...] = (
    "llava", "llava_next", "llava_onevision", "idefics2", "idefics3", "smolvlm", "qwen2_vl", "qwen2_5_vl", "qwen3_vl",
    "internvl", "gemma3", "mistral3", "aya_vision", "glm4v", "lfm2_vl", "ovis2", "mllama",
)  # fmt: skip
"""Model types that are asked through their chat template; others with a template are tried the same way."""


@dataclass(frozen=True, slots=True)
class FamilyTable:
    """The families that can do one task.

    verb      the task in messages
    families  model_type → class; for "vision-encoder-decoder" also "type+encoder", by the encoder's type
    heads     model_type → the architecture it must have been trained with, where the type alone does not decide
    chat      whether a model with a chat template can do it
    """

    verb: str
    families: Mapping[str, str]
    heads: Mapping[str, str] = field(default_factory=dict)
    chat: bool = False


CAPTION = FamilyTable(
    "write captions",
    {
        "blip": ".captioning:Blip",
        "git": ".captioning:Git",
        "vision-encoder-decoder": ".captioning:EncoderDecoder",
        "fuyu": ".fuyu:Fuyu",
    },
    {"blip": "BlipForConditionalGeneration"},
    chat=True,
)
ASK = FamilyTable(
    "answer questions about images",
    {
        "blip": ".vqa:BlipAnswerer",
        "vilt": ".vqa:Vilt",
        "git": ".vqa:GitAnswerer",
        "fuyu": ".fuyu:Fuyu",
    },
    {"blip": "BlipForQuestionAnswering", "vilt": "ViltForQuestionAnswering"},
    chat=True,
)
ASK_DOCUMENT = FamilyTable(
    "answer questions about pages",
    {
        "layoutlm": ".documents.layoutlm:LayoutLM",
        "layoutlmv3": ".documents.layoutlm:LayoutLM3",
        "vision-encoder-decoder+donut-swin": ".documents.donut:Donut",
    },
    {"layoutlm": "LayoutLMForQuestionAnswering", "layoutlmv3": "LayoutLMv3ForQuestionAnswering"},
)
ASK_TABLE = FamilyTable(
    "answer questions about tables", {"tapas": ".tables.tapas:Tapas"}, {"tapas": "TapasForQuestionAnswering"}
)


def resolve_model(name: str, *tasks: FamilyTable, precision: str = "float32") -> Spec:
    """Return the Spec of a hub id ("owner/name", "owner/name@revision") or folder for the first task that it can do.

    A folder's model is named by the folder and eight digits of the digest of its contents.

    Raises UnknownModel for another name, or a model_type that no family of these tasks has or that was trained for
    something else; WeightsError where there is nothing to read.
    """
    where = resolve_name(name)
    if where is None:
        raise UnknownModel(f"no model called {name!r}: expected a hub id (owner/name) or a folder with config.json")
    checkpoint = Checkpoint.open(where)
    target = _find_target(checkpoint, name, tasks)
    module, _, attribute = target.partition(":")
    facts: dict[str, Any] = getattr(import_module(module, __package__), attribute).describe(checkpoint)
    called = f"{Path(where).name}@{hash_checkpoint(where)[:8]}" if Path(where).is_absolute() else name
    return Spec(
        **{
            "name": called, "target": f"{__package__}{target}", "kind": "image", "rate": 0.0, "window": 0.0, "dim": 0,
            "pool": "", "weights": (where,), "license": checkpoint.license, "precision": precision,
            "summary": f"{checkpoint.model_type} checkpoint {name}", **facts,
        }
    )  # fmt: skip


def refresh_spec(spec: Spec, *tasks: FamilyTable) -> Spec:
    """Return a stored Spec with the class that runs its checkpoint today.

    The class that the stored Spec names is never imported. Raises UnknownModel and WeightsError as `resolve_model`
    does.
    """
    if not spec.weights:
        raise UnknownModel(f"{spec.name}: no checkpoint is named")
    target = _find_target(Checkpoint.open(spec.weights[0]), spec.name, tasks)
    return replace(spec, target=f"{__package__}{target}")


def load_model(spec: Spec, *, threads: int | None = None) -> Any:
    """Create the model of a Spec; its weights are loaded on first use."""
    module, _, attribute = spec.target.partition(":")
    return getattr(import_module(module), attribute)(spec, threads=threads)


def _find_target(checkpoint: Checkpoint, name: str, tasks: tuple[FamilyTable, ...]) -> str:
    """Return the class for a checkpoint: that of its family for the first task it can do, or the chat class."""
    kind = checkpoint.model_type
    whole = f"{kind}+{checkpoint.section('encoder').get('model_type', '')}"
    for task in tasks:
        target = task.families.get(whole) or (task.families.get(kind) if whole not in _DOCUMENT_TYPES else None)
        head = task.heads.get(kind)
        # A config.json without architectures is accepted.
        if target and (head is None or head in checkpoint.config.get("architectures", [head])):
            return target
        if task.chat and (kind in CHAT_MODEL_TYPES or _has_chat_template(checkpoint)):
            return CHAT_TARGET
    raise UnknownModel(_explain_unknown(checkpoint, name, tasks))


# Donut is a vision-encoder-decoder too, but answers about pages and writes no captions.
_DOCUMENT_TYPES = frozenset(ASK_DOCUMENT.families)


def _has_chat_template(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint takes images and has a chat template, in one of four places."""
    if not any(key in checkpoint.config for key in ("vision_config", "vision_tower_config")):
        return False
    files = ("processor_config.json", "tokenizer_config.json", "chat_template.json")
    jinja = (checkpoint.folder / "chat_template.jinja").is_file()
    return jinja or any("chat_template" in (checkpoint.json(file) or {}) for file in files)


def _explain_unknown(checkpoint: Checkpoint, name: str, tasks: tuple[FamilyTable, ...]) -> str:
    """Return the message for a checkpoint that can do none of the tasks."""
    verbs = " or ".join(task.verb for task in tasks)
    kinds = sorted(
        {kind for task in tasks for kind in task.families} | {k for t in tasks if t.chat for k in CHAT_MODEL_TYPES}
    )
    heads = [task.heads[checkpoint.model_type] for task in tasks if checkpoint.model_type in task.heads]
    if heads:
        made = ", ".join(checkpoint.config.get("architectures", [])) or "nothing it says"
        return f"{name} was trained as {made}; to {verbs} it must be {' or '.join(heads)}"
    return (
        f"{name}: no family to {verbs} for model_type {checkpoint.model_type!r} (config.json); "
        f"there are: {', '.join(kinds)}"
    )
