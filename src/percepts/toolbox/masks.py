"""Attention masks as a small algebra: patterns joined by `|`, as a bool matrix or as FlexAttention's block mask.

>>> pattern = Band(1) | Global(1)
>>> pattern.matrix(4).int().tolist()
[[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 1, 1]]
>>> pattern.density(4)
0.875
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

import numpy as np
import torch

Tensor = torch.Tensor


class Pattern(ABC):
    """Which query may look at which key; `allowed` works on any two index tensors that broadcast."""

    @abstractmethod
    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """Bool, True where query number `q` looks at key number `k` of a sequence of that length."""

    def mask_function(self, length: int, device: str = "cpu") -> Callable[[Tensor, Tensor], Tensor]:
        """`allowed` with the length filled in, and whatever it needs made beforehand."""
        return lambda q, k: self.allows(q, k, length)

    def matrix(self, length: int) -> Tensor:
        """(length, length) bool, rows queries: an `attn_mask` of scaled_dot_product_attention."""
        _check_positive(length=length)
        index = torch.arange(length)
        return self.allows(index[:, None], index[None, :], length).expand(length, length)

    def density(self, length: int) -> float:
        """Share of all pairs that are looked at."""
        return float(self.matrix(length).double().mean())

    def block_mask(self, length: int, *, device: str = "cpu", block: int = 128) -> Any:
        """For `torch.nn.attention.flex_attention.flex_attention`: empty blocks are never computed."""
        from torch.nn.attention.flex_attention import create_block_mask

        rule = self.mask_function(length, device)

        def mask(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return rule(q, k)

        return create_block_mask(mask, None, None, length, length, device=device, BLOCK_SIZE=block)

    def __or__(self, other: Pattern) -> Pattern:
        return Union((*_list_parts(self), *_list_parts(other)))


@dataclass(frozen=True)
class Union(Pattern):
    """What any of the parts allows."""

    parts: tuple[Pattern, ...]

    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """Any of them."""
        return self.mask_function(length)(q, k)

    def mask_function(self, length: int, device: str = "cpu") -> Callable[[Tensor, Tensor], Tensor]:
        """Those of the parts, joined."""
        rules = [part.mask_function(length, device) for part in self.parts]
        return lambda q, k: reduce(torch.logical_or, [rule(q, k) for rule in rules])


@dataclass(frozen=True)
class Global(Pattern):
    """The first `count` tokens look at all, and all look at them."""

    count: int

    def __post_init__(self) -> None:
        _check_positive(count=self.count)

    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """Rows and columns."""
        return (q < self.count) | (k < self.count)


@dataclass(frozen=True)
class Band(Pattern):
    """Neighbours at most `reach` away on either side: a window of 2 * reach + 1."""

    reach: int

    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """Around the diagonal."""
        return (q - k).abs() <= self.reach


@dataclass(frozen=True)
class Dilated(Pattern):
    """`reach` neighbours on either side, of every `step`-th token."""

    reach: int
    step: int

    def __post_init__(self) -> None:
        _check_positive(step=self.step)

    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """Around the diagonal, with gaps."""
        away = (q - k).abs()
        return (away <= self.reach * self.step) & (away % self.step == 0)


@dataclass(frozen=True)
class BlockLocal(Pattern):
    """Tokens of the same block of `size`."""

    size: int

    def __post_init__(self) -> None:
        _check_positive(size=self.size)

    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """Squares along the diagonal."""
        return q // self.size == k // self.size


@dataclass(frozen=True)
class Random(Pattern):
    """`count` keys for every query, drawn without replacement from the seed; all of them where there are not more."""

    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        _check_positive(count=self.count)

    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """By a table that is drawn once for a length."""
        return self.mask_function(length)(q, k)

    def mask_function(self, length: int, device: str = "cpu") -> Callable[[Tensor, Tensor], Tensor]:
        """With the table made: FlexAttention forbids randomness inside a mask."""
        table = _draw_keys(self.count, self.seed, length).to(device)
        return lambda q, k: table[q, k]


@lru_cache(maxsize=8)
def _draw_keys(count: int, seed: int, length: int) -> Tensor:
    """(length, length) bool."""
    order = np.random.default_rng(seed).random((length, length)).argsort(axis=1)
    table = np.zeros((length, length), bool)
    np.put_along_axis(table, order[:, :count], True, axis=1)
    return torch.from_numpy(table)


def longformer(window: int = 512, tokens: int = 1) -> Pattern:
    """Sliding window and global tokens (Beltagy et al. 2020, arXiv 2004.05150); `window` counts both sides."""
    return Band(window // 2) | Global(tokens)


def bigbird(window: int = 192, tokens: int = 128, random: int = 192, seed: int = 0) -> Pattern:
    """The same with random keys (Zaheer et al. 2020, arXiv 2007.14062), token by token where theirs goes by blocks."""
    return Band(window // 2) | Global(tokens) | Random(random, seed)


def _list_parts(pattern: Pattern) -> tuple[Pattern, ...]:
    return pattern.parts if isinstance(pattern, Union) else (pattern,)


def _check_positive(**sizes: int) -> None:
    if wrong := {name: size for name, size in sizes.items() if size < 1}:
        raise ValueError(f"expected at least 1, got {wrong}")
