"""Read and check the vocabulary of a Whisper checkpoint."""

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
"""Spellings of the special token behind each field of the vocabulary, the newer one first."""


class TextTokens:
    """The tokenizer of tokenizer.json, for text without special tokens."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """Encode a text without adding special tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """Decode tokens, leaving out special ones."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))


def open_whisper_checkpoint(name: str) -> Checkpoint:
    """Open the checkpoint of that name, and check that it is a Whisper model with a tokenizer.

    Raises WeightsError for another family, and where tokenizer.json is missing.
    """
    checkpoint = Checkpoint.open(name)
    if checkpoint.model_type != "whisper":
        raise WeightsError(
            f"{checkpoint.folder}: expected a Whisper checkpoint, got model_type {checkpoint.model_type!r}"
        )
    read_tokenizer(checkpoint.folder / "tokenizer.json")
    return checkpoint


def read_vocabulary(folder: Path, size: int, settings: dict[str, Any]) -> WhisperVocabulary:
    """Read the vocabulary of a model with `size` tokens, and check its generation settings against the tokenizer.

    Raises WeightsError where tokenizer.json is missing, damaged, or that of another model.
    """
    path = folder / "tokenizer.json"
    tokenizer = read_tokenizer(path)
    ids = {name: _find_token_id(tokenizer, path, spellings) for name, spellings in SPECIALS.items()}
    first = _find_first_timestamp(tokenizer, path, ids["no_timestamps"])
    if not ids["eot"] < ids["sot"] < first < size:
        raise WeightsError(
            f"{path}: expected text, <|endoftext|>, <|startoftranscript|> and timestamps in this order below "
            f"the {size} tokens of the model, got {ids['eot']}, {ids['sot']} and timestamps from {first}: "
            "it belongs to another model"
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
    """Read a tokenizer.json.

    Raises WeightsError where it is missing or damaged; the libraries below would invent one.
    """
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
    """Read generation_config.json; what it lacks comes from config.json, where older checkpoints have it."""
    old = {name: checkpoint.config.get(name) for name in ("suppress_tokens", "begin_suppress_tokens")}
    return old | (checkpoint.json("generation_config.json") or {})


def read_alignment_heads(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """Return (layer, head) of the heads that follow what is being said.

    A checkpoint that does not list them gets all heads of the last half of the layers, as in openai/whisper.
    """
    known = read_generation_config(checkpoint).get("alignment_heads")
    if known:
        return sorted((int(layer), int(head)) for layer, head in known)
    layers, heads = int(checkpoint.config["decoder_layers"]), int(checkpoint.config["decoder_attention_heads"])
    return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]


def _find_token_id(tokenizer: tokenizers.Tokenizer, path: Path, spellings: Sequence[str]) -> int:
    """Return the id of the first spelling that the tokenizer has."""
    for spelling in spellings:
        found = tokenizer.token_to_id(spelling)
        if found is not None:
            return int(found)
    raise WeightsError(f"{path}: expected the tokenizer of a Whisper model, it has no {spellings[0]}")


def _find_first_timestamp(tokenizer: tokenizers.Tokenizer, path: Path, no_timestamps: int) -> int:
    """Return the id of <|0.00|>. Older files do not list the timestamps; they always follow <|notimestamps|>."""
    found = tokenizer.token_to_id("<|0.00|>")
    if found is not None and found != no_timestamps + 1:
        raise WeightsError(f"{path}: expected <|0.00|> right after <|notimestamps|> {no_timestamps}, got {found}")
    return no_timestamps + 1


def _read_languages(tokenizer: tokenizers.Tokenizer, settings: dict[str, Any], sot: int) -> dict[str, int]:
    """Read the languages from generation_config.json, else the tokens from <|startoftranscript|> to <|translate|>."""
    if settings.get("is_multilingual") is False:
        return {}
    if settings.get("lang_to_id"):
        return {spelled.strip("<|>"): int(token) for spelled, token in settings["lang_to_id"].items()}
    # Their number differs: large-v3 added Cantonese.
    first = sot + 1
    end = tokenizer.token_to_id("<|translate|>") or first
    found = {(tokenizer.id_to_token(token) or "").strip("<|>"): token for token in range(first, end)}
    return found if len(found) > 1 else {}


def _find_task_token(tokenizer: tokenizers.Tokenizer, tasks: dict[str, Any], name: str) -> int | None:
    """Return the token of a task, or None where the model has only one."""
    found = tasks.get(name, tokenizer.token_to_id(f"<|{name}|>"))
    return None if found is None else int(found)
