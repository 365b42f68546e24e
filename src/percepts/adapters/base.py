"""Define what every adapter promises, from features (B, T, D) to soft tokens (B, T', D')."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True, slots=True, eq=False)
class SoftTokens:
    """Vectors that a language model reads in place of words.

    embeds  (B, T', D), as wide as the token embeddings of the model
    mask    (B, T') bool: False where a token stands for nothing
    spans   (start, stop) in seconds of each of the B windows; empty where they are not known
    """

    embeds: torch.Tensor
    mask: torch.Tensor
    spans: tuple[tuple[float, float], ...] = field(default=())

    def __post_init__(self) -> None:
        if self.embeds.ndim != 3 or self.mask.shape != self.embeds.shape[:2] or self.mask.dtype != torch.bool:
            raise ValueError(
                f"expected embeds (B, T, D) and mask (B, T) bool, got {self.embeds.dtype}{list(self.embeds.shape)} "
                f"and {self.mask.dtype}{list(self.mask.shape)}"
            )

    def __repr__(self) -> str:
        return f"SoftTokens(embeds={list(self.embeds.shape)}, mask={int(self.mask.sum())} true)"

    @property
    def flat(self) -> torch.Tensor:
        """(n, D): the tokens that count, window after window."""
        return self.embeds[self.mask]


class Adapter(nn.Module):
    """The base class of adapters: `Kind(in_dim, out_dim, *, …)` with an exact `out_len` and a last linear layer.

    Features where the mask is False change nothing: a clip in a padded batch gives the same tokens as alone.
    `settings` holds the keyword arguments that the adapter was made with, `about` what it was trained between: encoder,
    lm and prompt.
    """

    def __init__(self, in_dim: int, out_dim: int, **settings: Any) -> None:
        super().__init__()
        # `type(v) is int` leaves out flags: True is an int to isinstance.
        sizes = {"in_dim": in_dim, "out_dim": out_dim} | {k: v for k, v in settings.items() if type(v) is int}
        if wrong := {name: value for name, value in sizes.items() if value < 1}:
            raise ValueError(f"{type(self).__name__}: expected sizes of at least 1, got {wrong}")
        self.in_dim, self.out_dim, self.settings = in_dim, out_dim, settings
        self.about: dict[str, str] = {}

    @abstractmethod
    def out_len(self, length: int) -> int:
        """Return how many tokens `length` steps give: exactly as `forward`, so that placeholders can be counted."""

    @abstractmethod
    def transform_steps(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Convert features, zero where the mask is False, to tokens and their mask."""

    @property
    @abstractmethod
    def last(self) -> nn.Linear:
        """The layer that gives the tokens, and so sets their scale."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> SoftTokens:
        """Convert features to soft tokens.

        x (B, T, in_dim) with T of at least 1, mask (B, T) bool; without a mask every step counts.
        """
        if x.ndim != 3 or x.shape[2] != self.in_dim or not x.shape[1]:
            raise ValueError(f"expected features (B, T, {self.in_dim}) with T of at least 1, got {list(x.shape)}")
        if mask is None:
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        if mask.shape != x.shape[:2] or mask.dtype != torch.bool:
            raise ValueError(f"expected a mask {list(x.shape[:2])} bool, got {mask.dtype}{list(mask.shape)}")
        if not mask.all():  # a copy of everything costs as much as a linear layer
            # Zeros, so that the NaN or garbage of padding cannot pass a convolution or a group of steps.
            x = x.masked_fill(~mask[..., None], 0.0)
        return SoftTokens(*self.transform_steps(x, mask))

    @torch.no_grad()
    def match_scale(self, rms: float, x: torch.Tensor, mask: torch.Tensor | None = None) -> float:
        """Scale the last layer so that the tokens of these features have the root mean square `rms`. Return the factor.

        Pass `rms=token_rms(lm)`: a frozen language model has never seen an embedding ten times as long as its own.
        """
        found = float(self(x, mask).flat.square().mean().sqrt())
        if not found > 0:
            raise ValueError(f"expected features that give tokens other than zero, got a root mean square of {found}")
        factor = rms / found
        for parameter in self.last.parameters():
            # The bias is scaled too: the layer is linear, so its output is scaled by exactly this factor.
            parameter.mul_(factor)
        return factor


@torch.no_grad()
def token_rms(lm: Any) -> float:
    """Return the root mean square of a language model's token embeddings, as its own embedding layer gives them."""
    embed = lm.get_input_embeddings()
    ids = torch.arange(embed.num_embeddings, device=embed.weight.device)
    # Through the layer and not its weight, because some models (Gemma 3) scale what they look up;
    # in parts, because a vocabulary of 256,000 in double precision takes gigabytes.
    parts = torch.split(ids, 4096)
    total = sum(embed(part).double().square().sum().item() for part in parts)
    return float((total / (len(ids) * embed.embedding_dim)) ** 0.5)


def group_steps(x: torch.Tensor, mask: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Put `size` steps side by side: (B, T, D) to (B, ceil(T / size), size * D), with zeros after the end.

    A group counts if one of its steps does.
    """
    # Steps missing to the next multiple of `size`; 0 where there is nothing to fill.
    missing = -x.shape[1] % size
    x = nn.functional.pad(x, (0, 0, 0, missing))
    mask = nn.functional.pad(mask, (0, missing))
    # (B, ceil(T / size), size * D).
    return x.reshape(len(x), -1, size * x.shape[2]), mask.reshape(len(mask), -1, size).any(dim=2)


def check_settings(kind: type[Adapter], settings: Mapping[str, Any]) -> None:
    """Raise ValueError for a setting that this kind of adapter does not have; the message lists those it has."""
    # The signature is the list of settings, so a new adapter has none to keep in step.
    known = [name for name, p in inspect.signature(kind).parameters.items() if p.kind is p.KEYWORD_ONLY]
    if unknown := sorted(set(settings) - set(known)):
        raise ValueError(f"{kind.__name__} has no setting {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
