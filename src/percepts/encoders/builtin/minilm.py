"""Encode sentences with all-MiniLM-L6-v2: 384 numbers, the mean of the token vectors at length one."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ... import weights as weight_files
from ...runtimes import DeferredRunner, Network
from ...types import Clip, Features, Inputs, Spec
from ..pooling import pool
from .variable_length import encode_by_length

if TYPE_CHECKING:
    import tokenizers
    import torch

TOKENS = 256  # as the checkpoint's sentence_bert_config.json says; what follows in a longer text is not read
REVISION = "1"  # of the network's code


class MiniLM:
    """Sentence vectors by `encode_text`; `tokenize` and `encode` are its two halves, for vectors of tokens."""

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        self.spec = spec
        self._weights = spec.weights[-1]  # conse's Spec has those of its classifier first
        self._run = DeferredRunner(partial(make_network, self._weights), runtime, threads)
        self._lock = threading.Lock()
        self._tokenizer: tokenizers.Tokenizer | None = None

    @property
    def runtime(self) -> str:
        """Runtime that runs it; asking chooses it and loads the weights, if that was not done yet."""
        return self._run.runtime

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Raise TypeError: clips are not text."""
        raise TypeError(f"{self.spec.name} takes text, not clips: use encode_text(texts)")

    def tokenize(self, texts: Sequence[str]) -> Inputs:
        """Turn texts into {"ids": (B, T) int64, "lengths": (B,) int64}; at most 256 tokens of each are kept."""
        if isinstance(texts, str):
            raise TypeError("expected a sequence of texts, got one text: put it in a list")
        if not texts:
            raise ValueError("expected at least one text, got none")
        found = [encoding.ids for encoding in self._load_tokenizer().encode_batch(list(texts))]
        ids = np.zeros((len(found), max(map(len, found))), np.int64)
        for row, tokens in zip(ids, found, strict=True):
            row[: len(tokens)] = tokens
        return {"ids": ids, "lengths": np.array([len(tokens) for tokens in found], np.int64)}

    def encode(self, inputs: Inputs) -> Features:
        """Return (B, T, 384) token vectors; the mask is False after the end of each text.

        Each text runs at its own length, so what it is padded to, and beside whom, changes nothing.
        """
        return encode_by_length(self._run, inputs, self.spec.dim)

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, 384) float32 vectors of texts, of length one."""
        return pool(self.encode(self.tokenize(texts)), "l2mean")

    def _load_tokenizer(self) -> tokenizers.Tokenizer:
        # Threads may ask for the tokenizer at the same time.
        with self._lock:
            if self._tokenizer is None:
                import tokenizers  # late: conse needs it for texts alone

                loaded = tokenizers.Tokenizer.from_file(str(weight_files.local_path(self._weights, "tokenizer.json")))
                # Each text runs at its own length.
                loaded.no_padding()
                loaded.enable_truncation(TOKENS)
                self._tokenizer = loaded
            return self._tokenizer


def make_network(weights: str) -> Network:
    """Return the network that runs on the weights of a name."""
    return Network(
        name=weights,
        key=hashlib.sha256(f"{weight_files.hash_weights([weights])}|bert|{REVISION}".encode()).hexdigest(),
        build=partial(_build_network, weights),
        example={"ids": np.arange(1000, 1012, dtype=np.int64)[None]},
        outputs=("states",),
        free={"ids": {1: "tokens"}},
    )


def _build_network(weights: str) -> torch.nn.Module:
    from ...networks import bert

    return bert.load_network(weight_files.local_path(weights))
