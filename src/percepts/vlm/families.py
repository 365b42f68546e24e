"""Find the class that runs a Hugging Face model, by the `model_type` of its config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..encoders import resolve
from ..encoders.hub.families import list_short_names
from ..errors import UnknownModel
from ..types import Spec
from ..weights.checkpoint import Checkpoint

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


def resolve_model(name: str | Spec, *tasks: FamilyTable, precision: str = "float32") -> Spec:
    """Return the Spec of a model for the first of these tasks that it can do.

    Names and errors are those of `percepts.encoders.resolve.resolve_model`. A Spec is returned as it is.
    """
    spec = resolve.resolve_model(name, _describe_kind(tasks), partial(_find_target, tasks=tasks))
    return spec if isinstance(name, Spec) else replace(spec, precision=precision)


def refresh_spec(spec: Spec, *tasks: FamilyTable) -> Spec:
    """Return a stored Spec with the class that runs its checkpoint for these tasks today.

    Raises UnknownModel and WeightsError as `resolve_model` does.
    """
    if not spec.weights:
        raise UnknownModel(f"{spec.name}: no checkpoint is named")
    return resolve.refresh_target(spec, partial(_find_target, tasks=tasks))


def _describe_kind(tasks: tuple[FamilyTable, ...]) -> resolve.ModelKind:
    names = list_short_names({family for task in tasks for family in task.families})
    return resolve.ModelKind(names, verb=" or ".join(task.verb for task in tasks))


def load_model(spec: Spec, *, threads: int | None = None) -> Any:
    """Create the model of a Spec; its weights are loaded on first use."""
    return resolve.import_target(spec.target)(spec, threads=threads)


def _find_target(checkpoint: Checkpoint, name: str, tasks: tuple[FamilyTable, ...]) -> str:
    """Return the class for a checkpoint: that of its family for the first task it can do, or the chat class."""
    kind = checkpoint.model_type
    combined = f"{kind}+{checkpoint.section('encoder').get('model_type', '')}"
    for task in tasks:
        target = task.families.get(combined) or (task.families.get(kind) if combined not in _DOCUMENT_TYPES else None)
        head = task.heads.get(kind)
        # A config.json without architectures is accepted.
        if target and (head is None or head in checkpoint.config.get("architectures", [head])):
            return f"{__package__}{target}"
        if task.chat and (kind in CHAT_MODEL_TYPES or _has_chat_template(checkpoint)):
            return f"{__package__}{CHAT_TARGET}"
    raise UnknownModel(_explain_unknown(checkpoint, name, tasks))


# Donut is a vision-encoder-decoder too, but answers about pages and writes no captions.
_DOCUMENT_TYPES = frozenset(ASK_DOCUMENT.families)


def _has_chat_template(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint takes images and has a chat template, in one of four places."""
    # Without a vision part the template is that of a text model.
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
        made = (
            ", ".join(checkpoint.config.get("architectures", []))
            or "an architecture that its config.json does not name"
        )
        return f"{name} was trained as {made}; to {verbs} it must be {' or '.join(heads)}"
    return (
        f"{name}: no family to {verbs} for model_type {checkpoint.model_type!r} (config.json); "
        f"there are: {', '.join(kinds)}"
    )
