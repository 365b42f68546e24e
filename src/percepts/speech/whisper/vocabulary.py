"""The files of a Whisper checkpoint in, its vocabulary out, or a WeightsError that says what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import WeightsError
from ...weights.checkpoint import Checkpoint
from ..engines import WhisperVocabulary

if TYPE_CHECKING:
    import tokenizers

SPECIALS = {
    "sot": ("<|startoftranscript|>",),
    "eot": ("<|endoftext|>",),
    "previous": ("<|startofprev|>",),
    "no_speech": ("<|nospeech|>", "<|nocaptions|>"),
    "no_timestamps": ("<|notimestamps|>",),
}
"""How the field of a Vocabulary is spelled, the newer spelling first."""


class TextTokens:
    """The text side of tokenizer.json."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """No special tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """No special tokens."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))


def open_whisper_checkpoint(name: str) -> Checkpoint:
    """The checkpoint of that name, checked to be a Whisper with a tokenizer.

    Raises WeightsError for another family, and where tokenizer.json is missing.
    """
    found = Checkpoint.open(name)
    if found.model_type != "whisper":
        raise WeightsError(f"{found.folder}: expected a Whisper checkpoint, got model_type {found.model_type!r}")
    read_tokenizer(found.folder / "tokenizer.json")
    return found


def read_vocabulary(folder: Path, size: int, settings: dict[str, Any]) -> WhisperVocabulary:
    """Of a model with so many tokens; `settings` are those of its generation_config.json, held against the tokenizer.

    Raises WeightsError where tokenizer.json is missing, damaged, or that of another model.
    """
    path = folder / "tokenizer.json"
    tokenizer = read_tokenizer(path)
    ids = {name: _find_token_id(tokenizer, path, spellings) for name, spellings in SPECIALS.items()}
    first = _find_first_timestamp(tokenizer, path, ids["no_timestamps"])
    if not ids["eot"] < ids["sot"] < first < size:
        raise WeightsError(
            f"{path}: expected text, <|endoftext|>, <|startoftranscript|> and times in this order below the model's "
            f"{size} tokens, got {ids['eot']}, {ids['sot']} and times from {first}: it belongs to another model"
        )
    codes = _read_languages(tokenizer, settings, ids["sot"])
    tasks = settings.get("task_to_id") or {}
    return WhisperVocabulary(
        TextTokens(tokenizer),
        size,
        **ids,
        timestamps=first,
        transcribe=_find_task_token(tokenizer, tasks, "transcribe") if codes else None,
        translate=_find_task_token(tokenizer, tasks, "translate") if codes else None,
        languages=codes,
        suppressed=tuple(settings.get("suppress_tokens") or ()),
        suppressed_first=tuple(settings.get("begin_suppress_tokens") or ()),
    )


def read_tokenizer(path: Path) -> tokenizers.Tokenizer:
    """The tokenizer of a file; WeightsError where there is none, for others would go on with an invented one."""
    import tokenizers

    if not path.is_file():
        raise WeightsError(
            f"{path} is missing, without which tokens have no text; take it from the repository that the checkpoint "
            "was made from, or save it with AutoTokenizer…save_pretrained"
        )
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise WeightsError(f"{path}: expected a tokenizer: {error}") from error


def read_generation_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """generation_config.json, what it leaves out from config.json, where older checkpoints have it."""
    old = {name: checkpoint.config.get(name) for name in ("suppress_tokens", "begin_suppress_tokens")}
    return old | (checkpoint.json("generation_config.json") or {})


def read_alignment_heads(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """(layer, head) of those that look at what is being said; where nobody found them, the last half of the layers."""
    known = read_generation_config(checkpoint).get("alignment_heads")
    if known:
        return sorted((int(layer), int(head)) for layer, head in known)
    layers, heads = int(checkpoint.config["decoder_layers"]), int(checkpoint.config["decoder_attention_heads"])
    return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]


def _find_token_id(tokenizer: tokenizers.Tokenizer, path: Path, spellings: Sequence[str]) -> int:
    for spelling in spellings:
        found = tokenizer.token_to_id(spelling)
        if found is not None:
            return int(found)
    raise WeightsError(f"{path}: expected the tokenizer of a Whisper model, it has no {spellings[0]}")


def _find_first_timestamp(tokenizer: tokenizers.Tokenizer, path: Path, no_timestamps: int) -> int:
    """Older files do not spell the times; they always follow <|notimestamps|>."""
    found = tokenizer.token_to_id("<|0.00|>")
    if found is not None and found != no_timestamps + 1:
        raise WeightsError(f"{path}: expected <|0.00|> right after <|notimestamps|> {no_timestamps}, got {found}")
    return no_timestamps + 1


def _read_languages(tokenizer: tokenizers.Tokenizer, settings: dict[str, Any], sot: int) -> dict[str, int]:
    """From generation_config.json, else what stands between <|startoftranscript|> and <|translate|>."""
    if settings.get("is_multilingual") is False:
        return {}
    if settings.get("lang_to_id"):
        return {spelled.strip("<|>"): int(token) for spelled, token in settings["lang_to_id"].items()}
    first = sot + 1
    end = tokenizer.token_to_id("<|translate|>") or first
    found = {(tokenizer.id_to_token(token) or "").strip("<|>"): token for token in range(first, end)}
    return found if len(found) > 1 else {}


def _find_task_token(tokenizer: tokenizers.Tokenizer, tasks: dict[str, Any], name: str) -> int | None:
    found = tasks.get(name, tokenizer.token_to_id(f"<|{name}|>"))
    return None if found is None else int(found)
