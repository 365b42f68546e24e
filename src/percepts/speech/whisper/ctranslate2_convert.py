"""Convert a Whisper checkpoint to CTranslate2's format once, and keep the result in percepts' cache.

CTranslate2's own converter takes the tokenizer from transformers, which invents one where tokenizer.json is missing.
This one takes our own, checked vocabulary.
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
    """Return the folder of the converted checkpoint (float32), and convert it first if the cache does not have it.

    Of several processes the first one converts, and the others wait for it.
    """
    path = cache_root() / "ctranslate2" / checkpoints.hash_checkpoint(name)[:32]
    record = path.with_name(f"{path.name}.json")
    with lock_path(path):
        if is_converted(path) and read_record(record) == {"files": hash_folder(path)}:
            return path
        if path.exists():
            log.warning("%s was changed since it was converted, or its sha256 is not on record; making it again", path)
            remove_tree(path)
        make_folder(path.parent)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as part:
            _CTranslate2Weights(checkpoint, vocabulary).convert(part, force=True)
            # The converter leaves the tokenizer out, and without it the folder could not be opened by itself.
            shutil.copy(checkpoint.folder / "tokenizer.json", part)
            write_record(record, {"files": hash_folder(Path(part))})
            rename_folder(Path(part), path)
            Path(part).mkdir()  # TemporaryDirectory fails if its folder is gone when it cleans up
    return path


class _CTranslate2Weights(Converter):  # type: ignore[misc]
    """CTranslate2's converter with the vocabulary and alignment heads that percepts read."""

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
    """Return one spelling per token, all different.

    CTranslate2 finds the special tokens by their spelling, and tells by them whether the model knows several languages.
    """
    path = checkpoint.folder / "tokenizer.json"
    tokenizer = read_tokenizer(path)
    spellings = [tokenizer.id_to_token(i) for i in range(tokens.size)]
    # Older tokenizer.json files do not list the timestamps, so these are spelled here.
    for i in range(tokens.timestamps, tokens.size):
        spellings[i] = f"<|{(i - tokens.timestamps) * TICK_S:.2f}|>"
    missing = [i for i, spelling in enumerate(spellings) if spelling is None]
    if missing or len(set(spellings)) < len(spellings):
        raise WeightsError(
            f"{path}: expected {tokens.size} tokens, all different; ids without a token: {missing[:8] or 'none'}"
        )
    if tokens.languages and "" not in spellings:
        raise WeightsError(
            f'{path}: expected the empty token "" that every multilingual Whisper has. CTranslate2 treats a model '
            "without it as English-only; use --engine transformers"
        )
    return [str(spelling) for spelling in spellings]
