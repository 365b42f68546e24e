"""Encode sentences with BERT-like models, pooled and prompted as the files of a checkpoint say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import WeightsError
from ...runtimes import DeferredRunner
from ...support.checkpoint_settings import read_json
from ...types import Clip, Features, Inputs, Spec
from ...weights.checkpoint import Checkpoint
from ..builtin.variable_length import encode_by_length
from ..pooling import pool
from .base import TokenGrid, Transformer, check_texts

if TYPE_CHECKING:
    import torch

MODELS: Mapping[str, str] = {
    "bert": "BertModel", "roberta": "RobertaModel", "xlm-roberta": "XLMRobertaModel", "distilbert": "DistilBertModel",
    "mpnet": "MPNetModel",
}  # fmt: skip
OFFSET = {"roberta": 2, "xlm-roberta": 2, "mpnet": 2}
"""Positions that are never used, because these models count from their padding id + 1."""
_POOLS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


class Sentence(Transformer):
    """Reimers and Gurevych 2019 (arXiv 1908.10084). Each text runs at its own length, with no trace of padding."""

    pools = ("mean", "cls", "l2mean", "l2cls")

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        super().__init__(spec, runtime=runtime, threads=threads)
        self._run: DeferredRunner = self._defer_network(
            "media", self.build, self.example, self.outputs, {"ids": {1: "tokens"}}
        )

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the fields of a Spec; pooling and norm come from modules.json, the mean where there is none."""
        kinds = [str(row.get("type", "")).rpartition(".")[2] for row in _read_modules(checkpoint)]
        if foreign := [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]:
            raise WeightsError(f"{checkpoint.folder}: modules.json has {', '.join(foreign)}, which is not read here")
        dim = checkpoint.config.get("hidden_size") or checkpoint.config["dim"]  # "dim" is DistilBERT's
        return {"kind": "text", "rate": 0.0, "window": 0.0, "dim": dim,
                "pool": ("l2" if "Normalize" in kinds else "") + _read_pool(checkpoint)}  # fmt: skip

    @property
    def grid(self) -> TokenGrid:
        """Tokens of the longest text that it reads."""
        return TokenGrid(("token",), (self.length,))

    @cached_property
    def length(self) -> int:
        """Tokens of a text that are read."""
        positions = self.config.get("max_position_embeddings", 512) - OFFSET.get(self.checkpoint.model_type, 0)
        settings: Mapping[str, Any] = self.checkpoint.json("sentence_bert_config.json") or {}
        limit = settings.get("max_seq_length")
        return min(int(limit), positions) if limit else int(positions)

    @cached_property
    def prompts(self) -> Mapping[str, str]:
        """Words before a text, by the name of its use ("query", "document"…), as the checkpoint has them."""
        settings: Mapping[str, Any] = self.checkpoint.json("config_sentence_transformers.json") or {}
        return settings.get("prompts") or {}

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Raise TypeError: clips are not text."""
        raise TypeError(f"{self.spec.name} takes text, not clips: use encode_text(texts)")

    def tokenize(self, texts: Sequence[str], *, prompt: str = "") -> Inputs:
        """Turn texts into {"ids": (B, T) int64, "lengths": (B,)}. `prompt` is a name in `prompts`, or the words."""
        check_texts(texts)
        before = self.prompts.get(prompt, prompt)
        found = self.tokenizer([before + text for text in texts], truncation=True, max_length=self.length)["input_ids"]
        lengths = np.array([len(ids) for ids in found], np.int64)
        rows = np.zeros((len(found), lengths.max()), np.int64)
        for row, ids in zip(rows, found, strict=True):
            row[: len(ids)] = ids
        return {"ids": rows, "lengths": lengths}

    def tokens(self, inputs: Inputs) -> Features:
        """Return (B, T, D) token states; the mask is False after the end of each text."""
        return encode_by_length(self._run, inputs, self.spec.dim)

    def encode_text(self, texts: Sequence[str], *, prompt: str = "") -> np.ndarray:
        """Return (B, D) float32 vectors of B texts."""
        return pool(self.encode(self.tokenize(texts, prompt=prompt)), self.spec.pool)

    @cached_property
    def tokenizer(self) -> Any:
        """Tokenizer of the checkpoint as transformers reads it; no code of the checkpoint is run."""
        from ...weights.pretrained import load_tokenizer

        return load_tokenizer(self.checkpoint.folder)

    def example(self) -> Inputs:
        """Return six tokens."""
        return {"ids": np.arange(4, 10, dtype=np.int64)[None]}  # past 1, RoBERTa's and MPNet's padding

    def build(self) -> torch.nn.Module:
        """Build the model without a pooler."""
        from ...weights import pretrained

        kind = MODELS[self.checkpoint.model_type]
        # DistilBERT has no pooler, and no argument to leave it out.
        settings: dict[str, Any] = {} if kind == "DistilBertModel" else {"add_pooling_layer": False}
        model = pretrained.load_pretrained(kind, self.checkpoint.folder, **settings)
        return pretrained.WrappedModel(model, lambda m, ids: m(input_ids=ids).last_hidden_state)


def _read_modules(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    path = checkpoint.folder / "modules.json"
    found = read_json(path) if path.is_file() else []
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise WeightsError(f"{path}: expected a list of objects, each with type and path")
    return found


def _read_pool(checkpoint: Checkpoint) -> str:
    rows = [row for row in _read_modules(checkpoint) if str(row.get("type", "")).endswith("Pooling")]
    folder = str(rows[0].get("path", "")) if rows else ""
    # modules.json comes from a stranger, and must not lead out of the folder.
    if rows and not re.fullmatch(r"[\w-]+", folder):
        raise WeightsError(f"{checkpoint.folder}: modules.json: expected path to be a folder beside it, got {folder!r}")
    # sentence-transformers takes the mean, too, where there is no modules.json.
    settings = (checkpoint.json(f"{folder}/config.json") or {}) if folder else {"pooling_mode_mean_tokens": True}
    chosen = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on]
    if len(chosen) != 1 or chosen[0] not in _POOLS:
        raise WeightsError(f"{checkpoint.folder}: expected a pooling of {', '.join(_POOLS)}, got {chosen}")
    return _POOLS[chosen[0]]
