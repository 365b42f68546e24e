"""Whisper's decoder in torch, a step at a time: what does not change is computed once, and nothing is allocated twice.

The weights are those of transformers' modules. The sound's keys and values are made once a window and shared by its
rows (beams, draws), which attend to it as if they were one longer query; the rows' own keys and values lie in one
array as long as the text can become.
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
    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class _Layer:
    """One layer; queries are scaled by their weights, and queries, keys and values are one product."""

    def __init__(self, layer: Any) -> None:
        own, cross = layer.self_attn, layer.encoder_attn
        q = _scale_queries(own)
        none = torch.zeros_like(q.bias)
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
    return _Linear(module.weight, module.bias)


def _copy_norm(module: Any) -> _Norm:
    return _Norm(module.weight, module.bias, module.eps)


def _scale_queries(attention: Any) -> Any:
    return _Linear(attention.q_proj.weight * attention.scaling, attention.q_proj.bias * attention.scaling)


class Decoder:
    """The weights, ready to step; `Steps` holds what belongs to a batch."""

    def __init__(self, decoder: Any) -> None:
        self.layers = [_Layer(layer) for layer in decoder.layers]
        self.heads: int = decoder.layers[0].self_attn.num_heads
        self.words: Tensor = decoder.embed_tokens.weight
        self._columns = self.words.t().contiguous() if self.words.device.type == "cpu" else None
        self.places: Tensor = decoder.embed_positions.weight
        self.scale = float(getattr(decoder, "embed_scale", 1.0))
        self.norm = _copy_norm(decoder.layer_norm)

    def embed(self, tokens: Tensor, at: int) -> Tensor:
        """(R, T) tokens, the first at that place, to (R, T, D)."""
        return F.embedding(tokens, self.words) * self.scale + self.places[at : at + tokens.shape[1]]

    def logits(self, states: Tensor) -> Tensor:
        """(R, D) to (R, V), by whichever way of multiplying costs the CPU least: half of `linear`, or less."""
        states = self.norm(states)
        if self._columns is None:
            return F.linear(states, self.words)
        one = len(states) == 1
        product: Tensor = states @ self._columns if one else (self.words @ states.t()).t().contiguous()
        return product

    def split(self, x: Tensor) -> Tensor:
        """(R, T, D) to (R, H, T, D / H)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class DecodingState:
    """A batch of windows being decoded: a `percepts.speech.whisper.search.Stepper` over states (B, S, D)."""

    def __init__(self, decoder: Decoder, states: Tensor, most: int, sot: int = 0) -> None:
        self._decoder, self._most, self._sot, self._at, self._width = decoder, most, sot, 0, 1
        self._sound = [[decoder.split(part) for part in layer.kv(states).chunk(2, dim=-1)] for layer in decoder.layers]
        self._own: list[tuple[Tensor, Tensor]] = []
        self.first = np.zeros((0, 0), np.float32)
        """(B, V), the logits at the place `sot` of the prompt, once begun."""

    def begin(self, prompts: np.ndarray, width: int) -> np.ndarray:
        """See `Stepper`."""
        decoder, (batch, length) = self._decoder, prompts.shape
        states = decoder.embed(self._tensor(prompts), 0)
        for layer, sound in zip(decoder.layers, self._sound, strict=True):
            own = self._room(batch * width, states)
            states = self._layer(layer, states, own, sound, width)
        self._at, self._width = length, width
        self.first = _to_numpy(decoder.logits(states[:, self._sot]))
        return _to_numpy(decoder.logits(states[:, -1]))

    def cross_attention(self, tokens: np.ndarray, heads: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """(T,) tokens of one window to their logits (T, V), and (len(heads), T, S): how each looks at the sound.

        A head is (layer, head); what it looks at is not yet a probability.
        """
        decoder, seen = self._decoder, []
        states = decoder.embed(self._tensor(tokens[None]), 0)
        for i, (layer, sound) in enumerate(zip(decoder.layers, self._sound, strict=True)):
            asked: list[Tensor] = []
            states = self._layer(layer, states, self._room(1, states), sound, 1, asked)
            mine = [head for number, head in heads if number == i]
            if mine:
                seen.append(asked[0][0, mine] @ sound[0][0, mine].transpose(1, 2))
        return _to_numpy(decoder.logits(states[0])), _to_numpy(torch.cat(seen))

    def step(self, rows: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """See `Stepper`."""
        decoder = self._decoder
        self._keep(rows)
        states = decoder.embed(self._tensor(tokens)[:, None], self._at)
        for layer, own, sound in zip(decoder.layers, self._own, self._sound, strict=True):
            states = self._layer(layer, states, own, sound, self._width)
        self._at += 1
        return _to_numpy(decoder.logits(states[:, 0]))

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._decoder.words.device)

    def _room(self, rows: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer: (R, H, most, D / H) each."""
        heads = self._decoder.heads
        shape = (rows, heads, self._most, like.shape[-1] // heads)
        self._own.append((like.new_empty(shape), like.new_empty(shape)))
        return self._own[-1]

    def _keep(self, rows: np.ndarray) -> None:
        """Bring the rows that go on to the front, in this order; drop windows that none of them belongs to."""
        count = len(self._own[0][0])
        if len(rows) == count and np.array_equal(rows, np.arange(count)):
            return
        index, at = self._tensor(rows), self._at
        for i, pair in enumerate(self._own):
            kept = []
            for whole in pair:
                moved = whole[:, :, :at].index_select(0, index)
                whole[: len(rows), :, :at] = moved
                kept.append(whole[: len(rows)])
            self._own[i] = (kept[0], kept[1])
        if len(rows) < count:
            windows = index[:: self._width] // self._width
            self._sound = [[part.index_select(0, windows) for part in pair] for pair in self._sound]

    def _layer(
        self,
        layer: _Layer,
        states: Tensor,
        own: tuple[Tensor, Tensor],
        sound: list[Tensor],
        width: int,
        watched: list[Tensor] | None = None,
    ) -> Tensor:
        """(R, T, D) to (R, T, D). In `begin` R is the windows, and each row of the cache is given its window's.

        The queries that go to the sound, (B, H, T, D / H), are put into `watched`.
        """
        decoder, (rows, length, dim) = self._decoder, states.shape
        q, k, v = (decoder.split(part) for part in layer.qkv(layer.norm(states)).chunk(3, dim=-1))
        until = self._at + length
        for cache, new in zip(own, (k, v), strict=True):
            cache[:, :, self._at : until] = new if len(cache) == rows else new.repeat_interleave(width, dim=0)
        if self._at:
            k, v = own[0][:, :, :until], own[1][:, :, :until]
        states = states + layer.out(_join_heads(_attend(q, k, v, causal=length > 1)))
        q = layer.q(layer.cross_norm(states))
        asked = decoder.split(q.reshape(len(sound[0]), -1, dim))  # the rows of a window are one query
        if watched is not None:
            watched.append(asked)
        states = states + layer.cross_out(_join_heads(_attend(asked, *sound)).reshape(rows, length, dim))
        return states + layer.down(layer.activation(layer.up(layer.last_norm(states))))


def _attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    """Queries come scaled."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=1.0)


def _join_heads(x: Tensor) -> Tensor:
    """(R, H, T, D / H) to (R, T, D)."""
    return x.transpose(1, 2).flatten(2)


def _to_numpy(logits: Tensor) -> np.ndarray:
    array: np.ndarray = logits.float().cpu().numpy()
    return array
