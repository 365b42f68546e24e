"""Track the language of a stream from the probabilities of its windows; it changes only on strong evidence."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from pathlib import Path

from ...errors import OptionsError
from ..engines import WhisperEngine, WhisperVocabulary
from ..options import TranscribeOptions
from .ctranslate2_detect import is_converted
from .vocabulary import open_whisper_checkpoint, read_generation_config, read_vocabulary

LIKELY, SURE = 0.5, 0.8
"""Probabilities from which on another language is taken: in two windows in a row, or at once."""


class Languages:
    """The language of a stream.

    Raises ValueError for a language or a task that the model does not know.
    """

    def __init__(self, engine: WhisperEngine, options: TranscribeOptions) -> None:
        check_known(engine.name, engine.vocabulary, options)
        known = engine.vocabulary.languages
        self._wanted = options.languages or tuple(known)
        # Detecting the language costs a step of the decoder per window, so it is repeated only where it may change.
        self._again = len(options.languages) > 1 and options.language is None
        self.code = options.language or ("" if known else "en")  # English-only models have no language tokens
        if len(self._wanted) == 1 and not self.code:
            self.code = self._wanted[0]
        self.prob: float | None = None
        self._next = ""
        self._before: tuple[str, float | None, str] = (self.code, self.prob, self._next)

    @property
    def needs_detection(self) -> bool:
        """Whether the language of the next window with speech must be detected."""
        return not self.code or self._again

    def add_probabilities(self, probs: Mapping[str, float]) -> None:
        """Take in the model's language probabilities of one window."""
        self._before = (self.code, self.prob, self._next)
        candidates = {code: probs.get(code, 0.0) for code in self._wanted}
        code = max(candidates, key=lambda code: candidates[code])
        prob = candidates[code] / (sum(candidates.values()) or 1.0)  # among the languages that are possible
        if self.code in ("", code) or prob > SURE or (prob > LIKELY and code == self._next):
            self.code, self.prob, self._next = code, prob, ""
        else:
            self._next = code if prob > LIKELY else ""

    def copy(self) -> Languages:
        """Return a copy of the current state."""
        return copy(self)

    def revert(self) -> None:
        """Undo the last `add_probabilities`: the window turned out to be silent."""
        self.code, self.prob, self._next = self._before


def check_known(name: str, vocabulary: WhisperVocabulary, options: TranscribeOptions) -> None:
    """Raise OptionsError for a language or a task that a model does not know."""
    known = vocabulary.languages
    for code in (*options.languages, *([options.language] if options.language else [])):
        if code not in known and (known or code != "en"):
            there = ", ".join(sorted(known)) or "en only"
            raise OptionsError(f"{name} does not know the language {code!r}; it knows {there}")
    if options.task == "translate" and (not known or vocabulary.translate is None):
        raise OptionsError(
            f"{name} is an English-only model, which cannot translate: use a multilingual one, or task transcribe"
        )


def check_checkpoint(name: str, options: TranscribeOptions) -> None:
    """Raise OptionsError for a language or a task that a checkpoint does not know, without loading its weights."""
    if is_converted(Path(name)):  # only CTranslate2 opens these, and it checks them itself when it does
        return
    checkpoint = open_whisper_checkpoint(name)
    size = int(checkpoint.config["vocab_size"])
    check_known(name, read_vocabulary(checkpoint.folder, size, read_generation_config(checkpoint)), options)


def start_of(engine: WhisperEngine, code: str, task: str) -> list[int]:
    """Return the tokens that a transcript begins with: <|startoftranscript|>, language and task."""
    tokens = engine.vocabulary
    if not tokens.languages:
        return [tokens.sot]
    chosen = tokens.translate if task == "translate" else tokens.transcribe
    return [tokens.sot, tokens.languages[code], *([] if chosen is None else [chosen])]
