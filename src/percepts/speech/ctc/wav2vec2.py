"""Load wav2vec 2.0, HuBERT and WavLM with a CTC head and compute the probability of each letter every 20 ms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ...encoders import model_spec
from ...encoders.hub.wav2vec2 import MODELS, Wav2Vec2
from ...errors import UnknownModel, WeightsError
from ...types import Clip, Inputs
from ...weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch

CTC_CLASSES = {name: model.replace("Model", "ForCTC") for name, model in MODELS.items()}
MAX_WINDOW_S = 120.0  # seconds at once: attention takes (frames)², 36 million at this length


class Wav2Vec2CTC:
    """An engine for `percepts.speech.ctc.decode` from a checkpoint …ForCTC, given as hub id or folder.

    Each chunk is normalised to mean 0 and deviation 1 if the checkpoint's settings ask for it, as its authors do.

    Raises:
        UnknownModel: a checkpoint of another family, or one without a CTC head.
        WeightsError: no weights, no vocabulary, or weights of another shape than the vocabulary.
    """

    kind: ClassVar[Literal["ctc"]] = "ctc"

    def __init__(self, model: str, *, threads: int | None = None) -> None:
        spec = model_spec(model)
        if spec.target.rpartition(":")[2] != Wav2Vec2.__name__:
            raise UnknownModel(
                f"{model}: {spec.summary}: expected a checkpoint of {', '.join(CTC_CLASSES)} with a CTC head "
                "(…ForCTC), such as facebook/wav2vec2-base-960h"
            )
        # Measured, base, 10 s: torch 2.73 s, ONNX Runtime 2.68 s: not worth an export of half a minute.
        self._network = _EncoderWithHead(replace(spec, window=MAX_WINDOW_S), runtime="torch", threads=threads)
        checkpoint = self._network.checkpoint
        if checkpoint.read_scalar("lm_head.weight") is None:
            raise UnknownModel(
                f"{model}: its weights have no lm_head, so it cannot name letters. Expected a checkpoint …ForCTC"
            )
        self.name = spec.name
        self.rate = round(spec.rate)
        letters = _LetterVocabulary.of(checkpoint)
        self.vocabulary, self.blank, self.delimiter = letters.tokens, letters.blank, letters.delimiter

    @property
    def samples_per_frame(self) -> int:
        """320 in all published checkpoints."""
        return round(self._network.grid.step * self.rate)

    def emissions(self, wave: np.ndarray) -> np.ndarray:
        """Return (T, V) log probabilities of (N,) float32, at most two minutes, padded to one frame."""
        return self._network.logprobs(Clip(np.ascontiguousarray(wave[None], np.float32), "audio", float(self.rate)))


class _EncoderWithHead(Wav2Vec2):
    """The encoder with its CTC head."""

    def logprobs(self, clip: Clip) -> np.ndarray:
        """Return (T, V) log probabilities of one clip."""
        inputs: Inputs = self.prepare([clip])
        logprobs: np.ndarray = self._run({"samples": inputs["samples"]})[0][0]
        return logprobs

    def build(self) -> torch.nn.Module:
        """Return transformers' model of the family, with the head, as a module of samples."""
        from ...weights import pretrained

        model = pretrained.load_pretrained(CTC_CLASSES[self.checkpoint.model_type], self.checkpoint.folder)
        return pretrained.WrappedModel(model, lambda m, samples: m(samples).logits.log_softmax(-1))


@dataclass(frozen=True, slots=True)
class _LetterVocabulary:
    """The vocabulary of a checkpoint, as `Wav2Vec2CTCTokenizer` stores it."""

    tokens: tuple[str, ...]
    blank: int
    delimiter: str

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> _LetterVocabulary:
        """Read vocab.json and tokenizer_config.json; WeightsError where they do not fit the network."""
        folder, size = checkpoint.folder, checkpoint.config.get("vocab_size", 0)
        table: Mapping[str, Any] | None = checkpoint.json("vocab.json")
        if table is None:
            raise WeightsError(
                f"{folder}: no vocab.json, which says which letters the {size} outputs are. Copy the tokenizer's "
                "files beside the weights (`Wav2Vec2CTCTokenizer.save_pretrained`)"
            )
        settings: Mapping[str, Any] = checkpoint.json("tokenizer_config.json") or {}
        table = _select_language(table, settings, folder)
        # A tokenizer may have got <s> and </s> that the network does not have; all other tokens must be the network's.
        extra: Mapping[str, Any] = checkpoint.json("added_tokens.json") or {}
        added = {token: at for token, at in extra.items() if type(at) is not int or at < size}
        table = {**table, **added}
        if not all(type(at) is int for at in table.values()):
            raise WeightsError(f"{folder}: expected vocab.json to give each token a whole number")
        # Two tokens in one column, or a column without one, would give wrong letters.
        if sorted(table.values()) != list(range(size)):
            raise WeightsError(
                f"{folder}: vocab.json names {len(table)} tokens, config.json says that the network gives {size}: the "
                "files are not of one checkpoint"
            )
        pad, delimiter = (_read_token(settings.get(name, usual)) for name, usual in TOKEN_DEFAULTS.items())
        if pad not in table:
            raise WeightsError(f"{folder}: the blank {pad!r} (pad_token) is not in vocab.json")
        # A vocabulary without the delimiter writes its own spaces: "" says so.
        return cls(tuple(sorted(table, key=table.__getitem__)), table[pad], delimiter if delimiter in table else "")


TOKEN_DEFAULTS = {"pad_token": "<pad>", "word_delimiter_token": "|"}
"""Special tokens of the tokenizer where its settings do not name them."""


def _select_language(table: Mapping[str, Any], settings: Mapping[str, Any], folder: Path) -> dict[str, int]:
    """Return the vocabulary; of a model of many languages (MMS), that of the language that is set."""
    if not any(isinstance(value, dict) for value in table.values()):
        return dict(table)
    language = str(settings.get("target_lang"))
    if language not in table:
        raise WeightsError(
            f"{folder}: vocab.json holds {len(table)} languages and tokenizer_config.json says target_lang "
            f"{language!r}: save the checkpoint with one language set"
        )
    vocabulary: dict[str, int] = table[language]
    return vocabulary


def _read_token(token: Any) -> str:
    """Return a token as text, however the tokenizer's settings write it."""
    return str(token.get("content") if isinstance(token, dict) else token)
