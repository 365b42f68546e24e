"""Step through Whisper's decoder in torch, with nothing computed or allocated twice.

The weights are those of transformers' modules. Keys and values of the encoder's states are computed once per window
and shared by its rows (beams, draws), which attend to them as if they were one longer query. The rows' own keys and
values lie in one array that is as long as the text can become.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class _Linear:
    """Weight and bias of a linear layer."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class _Norm:
    """Weight, bias and epsilon of a layer norm."""

    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class _Layer:
    """One layer of the decoder. Queries are scaled by their weights; queries, keys and values are one product."""

    def __init__(self, layer: Any) -> None:
        own, cross = layer.self_attn, layer.encoder_attn
        q = _scale_queries(own)
        none = torch.zeros_like(q.bias)  # Whisper's keys have no bias
        self.qkv = _Linear(
            torch.cat([q.weight, own.k_proj.weight, own.v_proj.weight]), torch.cat([q.bias, none, own.v_proj.bias])
        )
        self.q = _scale_queries(cross)
        self.kv = _Linear(torch.cat([cross.k_proj.weight, cross.v_proj.weight]), torch.cat([none, cross.v_proj.bias]))
        self.out, self.cross_out = _copy_linear(own.out_proj), _copy_linear(cross.out_proj)
        self.up, self.down, self.activation = _copy_linear(layer.fc1), _copy_linear(layer.fc2), layer.activation_fn
        self.norm, self.cross_norm = _copy_norm(layer.self_attn_layer_norm), _copy_norm(layer.encoder_attn_layer_norm)
        self.last_norm = _copy_norm(layer.final_layer_norm)


def _copy_linear(module: Any) -> _Linear:
    """Take weight and bias from a torch module."""
    return _Linear(module.weight, module.bias)


def _copy_norm(module: Any) -> _Norm:
    """Take weight, bias and epsilon from a torch module."""
    return _Norm(module.weight, module.bias, module.eps)


def _scale_queries(attention: Any) -> Any:
    """Return the query projection with the scale of the attention multiplied into its weights."""
    return _Linear(attention.q_proj.weight * attention.scaling, attention.q_proj.bias * attention.scaling)


class Decoder:
    """The weights of the decoder; `DecodingState` holds what belongs to one batch."""

    def __init__(self, decoder: Any) -> None:
        self.layers = [_Layer(layer) for layer in decoder.layers]
        self.heads: int = decoder.layers[0].self_attn.num_heads
        self.words: Tensor = decoder.embed_tokens.weight
        # On the CPU a single row is multiplied faster with the words as columns; see `logits`.
        self._columns = self.words.t().contiguous() if self.words.device.type == "cpu" else None
        self.places: Tensor = decoder.embed_positions.weight
        self.scale = float(getattr(decoder, "embed_scale", 1.0))
        self.norm = _copy_norm(decoder.layer_norm)

    def embed_tokens(self, tokens: Tensor, at: int) -> Tensor:
        """Embed (R, T) tokens, the first of which stands at position `at`, as (R, T, D)."""
        return F.embedding(tokens, self.words) * self.scale + self.places[at : at + tokens.shape[1]]

    def logits(self, states: Tensor) -> Tensor:
        """Return (R, V) logits of (R, D) states, by the product that costs the CPU least: at most half of `linear`."""
        states = self.norm(states)
        if self._columns is None:
            return F.linear(states, self.words)
        one = len(states) == 1
        product: Tensor = states @ self._columns if one else (self.words @ states.t()).t().contiguous()
        return product

    def split(self, x: Tensor) -> Tensor:
        """Split (R, T, D) into heads: (R, H, T, D / H)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class DecodingState:
    """A batch of windows being decoded: a `Stepper` over encoder states (B, S, D)."""

    def __init__(self, decoder: Decoder, states: Tensor, most: int, sot: int = 0) -> None:
        self._decoder, self._sot = decoder, sot
        self._most = most  # positions that a cache has room for
        self._at = 0  # position of the next token
        self._width = 1  # rows per window
        # Keys and values of each layer: of the audio for the cross-attention, of the tokens for the self-attention.
        self._cross = [[decoder.split(part) for part in layer.kv(states).chunk(2, dim=-1)] for layer in decoder.layers]
        self._own: list[tuple[Tensor, Tensor]] = []
        self.first = np.zeros((0, 0), np.float32)
        """(B, V), the logits at position `sot` of the prompt; filled by `begin`."""

    def begin(self, prompts: np.ndarray, width: int) -> np.ndarray:
        """Run the prompts; see `Stepper.begin`."""
        decoder, (batch, length) = self._decoder, prompts.shape
        states = decoder.embed_tokens(self._tensor(prompts), 0)
        for layer, cross in zip(decoder.layers, self._cross, strict=True):
            own = self._allocate_cache(batch * width, states)
            states = self._run_layer(layer, states, own, cross, width)
        self._at, self._width = length, width
        self.first = _to_numpy(decoder.logits(states[:, self._sot]))
        return _to_numpy(decoder.logits(states[:, -1]))

    def cross_attention(self, tokens: np.ndarray, heads: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """Return (T, V) logits of one window's (T,) tokens, and (len(heads), T, S) scores of attention to the audio.

        A head is (layer, head). The scores are not normalised to probabilities.
        """
        decoder, scores = self._decoder, []
        states = decoder.embed_tokens(self._tensor(tokens[None]), 0)
        for i, (layer, cross) in enumerate(zip(decoder.layers, self._cross, strict=True)):
            queries: list[Tensor] = []
            states = self._run_layer(layer, states, self._allocate_cache(1, states), cross, 1, queries)
            wanted = [head for number, head in heads if number == i]
            if wanted:
                scores.append(queries[0][0, wanted] @ cross[0][0, wanted].transpose(1, 2))
        return _to_numpy(decoder.logits(states[0])), _to_numpy(torch.cat(scores))

    def step(self, rows: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Run one token of each row; see `Stepper.step`."""
        decoder = self._decoder
        self._select_rows(rows)
        states = decoder.embed_tokens(self._tensor(tokens)[:, None], self._at)
        for layer, own, cross in zip(decoder.layers, self._own, self._cross, strict=True):
            states = self._run_layer(layer, states, own, cross, self._width)
        self._at += 1
        return _to_numpy(decoder.logits(states[:, 0]))

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._decoder.words.device)

    def _allocate_cache(self, rows: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Allocate keys and values of one layer, (R, H, most, D / H) each."""
        heads = self._decoder.heads
        shape = (rows, heads, self._most, like.shape[-1] // heads)
        self._own.append((like.new_empty(shape), like.new_empty(shape)))
        return self._own[-1]

    def _select_rows(self, rows: np.ndarray) -> None:
        """Move the rows that continue to the front, in this order, and drop windows that have no row left."""
        count = len(self._own[0][0])
        if len(rows) == count and np.array_equal(rows, np.arange(count)):
            return
        index, at = self._tensor(rows), self._at
        for i, pair in enumerate(self._own):
            kept = []
            for cache in pair:
                # index_select copies, so a row may move onto one that is still to be read.
                moved = cache[:, :, :at].index_select(0, index)
                cache[: len(rows), :, :at] = moved
                kept.append(cache[: len(rows)])
            self._own[i] = (kept[0], kept[1])
        if len(rows) < count:
            windows = index[:: self._width] // self._width
            self._cross = [[part.index_select(0, windows) for part in pair] for pair in self._cross]

    def _run_layer(
        self,
        layer: _Layer,
        states: Tensor,
        own: tuple[Tensor, Tensor],
        cross: list[Tensor],
        width: int,
        queries: list[Tensor] | None = None,
    ) -> Tensor:
        """Run one layer: (R, T, D) to (R, T, D). In `begin`, R counts windows, and each row of the cache gets its own.

        The queries of the cross-attention, (B, H, T, D / H), are appended to `queries`.
        """
        decoder, (rows, length, dim) = self._decoder, states.shape
        q, k, v = (decoder.split(part) for part in layer.qkv(layer.norm(states)).chunk(3, dim=-1))
        until = self._at + length
        for cache, new in zip(own, (k, v), strict=True):
            cache[:, :, self._at : until] = new if len(cache) == rows else new.repeat_interleave(width, dim=0)
        # In `begin` the cache holds just these keys and values, one row per window before they are copied.
        if self._at:
            k, v = own[0][:, :, :until], own[1][:, :, :until]
        states = states + layer.out(_join_heads(_attend(q, k, v, causal=length > 1)))  # a single query sees all
        q = layer.q(layer.cross_norm(states))
        joined = decoder.split(q.reshape(len(cross[0]), -1, dim))  # the rows of a window are one query
        if queries is not None:
            queries.append(joined)
        states = states + layer.cross_out(_join_heads(_attend(joined, *cross)).reshape(rows, length, dim))
        return states + layer.down(layer.activation(layer.up(layer.last_norm(states))))


def _attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    """Return the attention's output; the queries come scaled."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=1.0)


def _join_heads(x: Tensor) -> Tensor:
    """Join the heads of (R, H, T, D / H): (R, T, D)."""
    return x.transpose(1, 2).flatten(2)


def _to_numpy(logits: Tensor) -> np.ndarray:
    """Copy logits to the CPU as float32."""
    array: np.ndarray = logits.float().cpu().numpy()
    return array
