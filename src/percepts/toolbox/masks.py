"""Build attention masks from patterns joined by `|`, as a bool matrix or as FlexAttention's block mask.

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
    """A rule that says which query attends to which key; `allows` takes any two index tensors that broadcast."""

    @abstractmethod
    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """Return bool, True where query number `q` attends to key number `k` in a sequence of this length."""

    def mask_function(self, length: int, device: str = "cpu") -> Callable[[Tensor, Tensor], Tensor]:
        """Return `allows` for one length, with any table that it needs already made."""
        return lambda q, k: self.allows(q, k, length)

    def matrix(self, length: int) -> Tensor:
        """Return the mask as (length, length) bool, rows queries: an `attn_mask` of scaled_dot_product_attention."""
        _check_positive(length=length)
        index = torch.arange(length)
        # A rule may ignore one of its indices, so its result is expanded to the full square.
        return self.allows(index[:, None], index[None, :], length).expand(length, length)

    def density(self, length: int) -> float:
        """Return the share of all pairs that are attended to."""
        return float(self.matrix(length).double().mean())

    def block_mask(self, length: int, *, device: str = "cpu", block: int = 128) -> Any:
        """Return the mask for `torch.nn.attention.flex_attention.flex_attention`, which never computes empty blocks."""
        from torch.nn.attention.flex_attention import create_block_mask

        # Made before `mask`, which FlexAttention traces: no table can be made in there.
        rule = self.mask_function(length, device)

        def mask(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return rule(q, k)

        # None, None: one mask for all batches and heads, computed once.
        return create_block_mask(mask, None, None, length, length, device=device, BLOCK_SIZE=block)

    def __or__(self, other: Pattern) -> Pattern:
        return Union((*_list_parts(self), *_list_parts(other)))


@dataclass(frozen=True)
class Union(Pattern):
    """Allows what any of its parts allows."""

    parts: tuple[Pattern, ...]

    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """Return True where any part allows the pair."""
        return self.mask_function(length)(q, k)

    def mask_function(self, length: int, device: str = "cpu") -> Callable[[Tensor, Tensor], Tensor]:
        """Join the functions of the parts."""
        # Not inside the lambda: the table of Random is made here.
        rules = [part.mask_function(length, device) for part in self.parts]
        return lambda q, k: reduce(torch.logical_or, [rule(q, k) for rule in rules])


@dataclass(frozen=True)
class Global(Pattern):
    """The first `count` tokens attend to all tokens, and all tokens attend to them."""

    count: int

    def __post_init__(self) -> None:
        _check_positive(count=self.count)

    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """Return True in the first rows and columns."""
        return (q < self.count) | (k < self.count)


@dataclass(frozen=True)
class Band(Pattern):
    """Neighbours at most `reach` away on either side: a window of 2 * reach + 1."""

    reach: int

    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """Return True near the diagonal."""
        return (q - k).abs() <= self.reach


@dataclass(frozen=True)
class Dilated(Pattern):
    """`reach` neighbours on either side, of every `step`-th token."""

    reach: int
    step: int

    def __post_init__(self) -> None:
        _check_positive(step=self.step)

    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """Return True near the diagonal, with gaps."""
        away = (q - k).abs()
        return (away <= self.reach * self.step) & (away % self.step == 0)


@dataclass(frozen=True)
class BlockLocal(Pattern):
    """Tokens of the same block of `size`."""

    size: int

    def __post_init__(self) -> None:
        _check_positive(size=self.size)

    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """Return True in squares along the diagonal."""
        return q // self.size == k // self.size


@dataclass(frozen=True)
class Random(Pattern):
    """`count` keys for each query, drawn without replacement from the seed; all keys where there are not more."""

    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        _check_positive(count=self.count)

    def allows(self, q: Tensor, k: Tensor, length: int) -> Tensor:
        """Return True where the table that is drawn once for this length says so."""
        return self.mask_function(length)(q, k)

    def mask_function(self, length: int, device: str = "cpu") -> Callable[[Tensor, Tensor], Tensor]:
        """Draw the table first, because FlexAttention forbids randomness inside a mask function."""
        # Drawn by NumPy: torch's generators give other numbers on a GPU than on a CPU.
        table = _draw_keys(self.count, self.seed, length).to(device)
        return lambda q, k: table[q, k]


@lru_cache(maxsize=8)
def _draw_keys(count: int, seed: int, length: int) -> Tensor:
    """Return (length, length) bool, True at `count` random keys of each query."""
    # The ranks of uniform numbers are a draw without replacement, for all rows at once.
    order = np.random.default_rng(seed).random((length, length)).argsort(axis=1)
    table = np.zeros((length, length), bool)
    np.put_along_axis(table, order[:, :count], True, axis=1)
    return torch.from_numpy(table)


def longformer(window: int = 512, tokens: int = 1) -> Pattern:
    """Join a sliding window and global tokens (Beltagy et al. 2020, arXiv 2004.05150); `window` counts both sides."""
    return Band(window // 2) | Global(tokens)


def bigbird(window: int = 192, tokens: int = 128, random: int = 192, seed: int = 0) -> Pattern:
    """Add random keys to `longformer` (Zaheer et al. 2020, arXiv 2007.14062), by tokens where the paper has blocks."""
    # The defaults are those of BigBird-base: 3, 2 and 3 blocks of 64 tokens.
    return Band(window // 2) | Global(tokens) | Random(random, seed)


def _list_parts(pattern: Pattern) -> tuple[Pattern, ...]:
    return pattern.parts if isinstance(pattern, Union) else (pattern,)


def _check_positive(**sizes: int) -> None:
    if wrong := {name: size for name, size in sizes.items() if size < 1}:
        raise ValueError(f"expected at least 1, got {wrong}")
