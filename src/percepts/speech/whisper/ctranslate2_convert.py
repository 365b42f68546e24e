"""A Whisper checkpoint in, a folder that CTranslate2 reads out, made once and kept in percepts' cache.

CTranslate2's own converter asks transformers for the tokenizer and goes on with an invented one where there is none;
here the vocabulary is ours, checked, and what it loads is held against it.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ctranslate2.converters.converter import Converter
from ctranslate2.converters.transformers import WhisperLoader

from ...errors import WeightsError
from ...runtimes.kept import hash_folder, read_record, write_record
from ...support.cache import cache_root, lock_path, make_folder
from ...support.files import remove_tree, rename_folder
from ...weights import checkpoint as checkpoints
from ...weights import pretrained
from ...weights.checkpoint import Checkpoint
from ..engines import TICK_S, WhisperVocabulary
from .ctranslate2_detect import is_converted
from .vocabulary import read_alignment_heads, read_tokenizer

log = logging.getLogger(__name__)


def convert_checkpoint(name: str, checkpoint: Checkpoint, vocabulary: WhisperVocabulary) -> Path:
    """Where the checkpoint lies converted, float32; made by whoever comes first, while others wait."""
    path = cache_root() / "ctranslate2" / checkpoints.hash_checkpoint(name)[:32]
    record = path.with_name(f"{path.name}.json")
    with lock_path(path):
        if is_converted(path) and read_record(record) == {"files": hash_folder(path)}:
            return path
        if path.exists():
            log.warning("%s is not what was made (its sha256 differ, or are not known); making it again", path)
            remove_tree(path)
        make_folder(path.parent)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as part:
            _CTranslate2Weights(checkpoint, vocabulary).convert(part, force=True)
            shutil.copy(checkpoint.folder / "tokenizer.json", part)
            write_record(record, {"files": hash_folder(Path(part))})
            rename_folder(Path(part), path)
            Path(part).mkdir()  # for the context manager to remove
    return path


class _CTranslate2Weights(Converter):  # type: ignore[misc]
    def __init__(self, checkpoint: Checkpoint, vocabulary: WhisperVocabulary) -> None:
        self._checkpoint, self._vocabulary = checkpoint, vocabulary

    def _load(self) -> Any:
        model = pretrained.load_pretrained("WhisperForConditionalGeneration", self._checkpoint.folder)
        spec = WhisperLoader().get_model_spec(model)
        tokens = self._vocabulary
        spec.config.suppress_ids = list(tokens.suppressed)
        spec.config.suppress_ids_begin = list(tokens.suppressed_first)
        spec.config.lang_ids = sorted(tokens.languages.values())
        spec.config.alignment_heads = read_alignment_heads(self._checkpoint)
        spec.register_vocabulary(_build_token_spellings(self._checkpoint, tokens))
        return spec


def _build_token_spellings(checkpoint: Checkpoint, tokens: WhisperVocabulary) -> list[str]:
    """One a token, all different: CTranslate2 finds the special ones, and whether there are languages, by them."""
    path = checkpoint.folder / "tokenizer.json"
    tokenizer = read_tokenizer(path)
    found = [tokenizer.id_to_token(i) for i in range(tokens.size)]
    for i in range(tokens.timestamps, tokens.size):
        found[i] = f"<|{(i - tokens.timestamps) * TICK_S:.2f}|>"
    missing = [i for i, spelled in enumerate(found) if spelled is None]
    if missing or len(set(found)) < len(found):
        raise WeightsError(
            f"{path}: expected {tokens.size} tokens, all different; without one: {missing[:8] or 'none'}"
        )
    if tokens.languages and "" not in found:
        raise WeightsError(
            f'{path}: expected the empty token "" that every multilingual Whisper has: CTranslate2 takes a model '
            "without it for one of English alone; use --engine transformers"
        )
    return [str(spelled) for spelled in found]
