"""Augment training examples as AST's authors do: masks, mixtures of two recordings, noise, rolling in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch

from ..preprocess.fbank import FLOOR

Tensor = torch.Tensor
Value = TypeVar("Value", float, torch.Tensor)


@dataclass(frozen=True, slots=True)
class Norm:
    """The normalisation of an AST's inputs: (log filter bank - mean) / (2 std)."""

    mean: float
    std: float

    def __call__(self, value: Value) -> Value:
        """Normalise log energies; 0 is the value that AST is padded with."""
        # By two deviations and not one, as AST's authors do.
        return (value - self.mean) / (2 * self.std)

    def power(self, x: Tensor) -> Tensor:
        """Undo the normalisation and the logarithm."""
        return (x * (2 * self.std) + self.mean).exp()


def spec_augment(x: Tensor, freq: int, time: int, fill: float, generator: torch.Generator) -> Tensor:
    """Mask one band of up to `freq` mels and one stretch of up to `time` frames of each example (B, T, M) with `fill`.

    SpecAugment (Park et al. 2019, arXiv 1904.08779), one mask of each kind, without time warping.
    """
    if not (freq or time):
        return x
    batch, frames, mels = x.shape
    bands = _random_spans(batch, mels, freq, generator)[:, None, :]
    stretches = _random_spans(batch, frames, time, generator)[:, :, None]
    return x.masked_fill((bands | stretches).to(x.device), fill)


def _random_spans(batch: int, length: int, widest: int, generator: torch.Generator) -> Tensor:
    """Return (B, length) bool, True in a random span of each row that is 0 to `widest` wide."""
    # torchaudio's order: first a width, then a place where it fits.
    width = torch.rand(batch, 1, generator=generator) * min(widest, length)
    first = torch.rand(batch, 1, generator=generator) * (length - width)
    place = torch.arange(length)[None]
    return (place >= first.floor()) & (place < first.floor() + width.floor())


def draw_mixing(batch: int, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw for each example (B,) its partner, and (B,) how much of itself remains.

    That is drawn from Beta(10, 10) with the probability `share`, and is 1 (not mixed) otherwise.
    """
    # The partner is from the same batch, while the authors draw one from all of the data.
    partner = torch.randperm(batch, generator=generator)
    # Of two draws a, b from Gamma(10), a / (a + b) is one from Beta(10, 10); each is a sum of 10 exponentials. Made by
    # hand, because torch's Beta takes no generator.
    ones, others = (-torch.rand(2, batch, 10, generator=generator).log()).sum(2)
    chosen = torch.rand(batch, generator=generator) < share
    return partner, torch.where(chosen, ones / (ones + others), torch.ones(batch))


def mix_examples(x: Tensor, partner: Tensor, own: Tensor) -> Tensor:
    """Mix each example (B, ...) with its partner: `own` of itself, the rest of the partner, as floats."""
    share = own.reshape(-1, *[1] * (x.ndim - 1))
    return share * x + (1 - share) * x[partner]


def mix_spectra(x: Tensor, frames: Tensor, partner: Tensor, own: Tensor, norm: Norm) -> Tensor:
    """Mix the inputs (B, T, M) of recordings as `mix_examples` would mix their samples.

    The authors mix samples. The powers of two recordings whose phases are independent add up on average, so that the
    power of a own + b (1 - own) is a's times own² and b's times (1 - own)², and no spectrum has to be computed again.

    frames   (B,) number of frames that hold audio; a mixture is as long as the longer of the two
    """
    place = torch.arange(x.shape[1])
    # Padding holds no audio, so its power is 0; undoing its normalisation would give exp(0) = 1.
    power = torch.where((place < frames[:, None])[..., None], norm.power(x), 0)
    share = own[:, None, None] ** 2, (1 - own[:, None, None]) ** 2
    mixed = (share[0] * power + share[1] * power[partner]).clamp(min=FLOOR).log()
    longest = torch.maximum(frames, frames[partner])
    # After the longer of the two there is padding again, at the value that AST is padded with.
    mixed = torch.where((place < longest[:, None])[..., None], norm(mixed), norm(0.0))
    # Examples that are not mixed stay as they are, to the bit.
    return torch.where((own < 1)[:, None, None], mixed, x)


def shake_spectra(x: Tensor, generator: torch.Generator) -> Tensor:
    """Add uniform noise of up to a random tenth to (B, T, M), and roll it in time by up to 10 frames."""
    loud = torch.rand(len(x), 1, 1, generator=generator) / 10
    noisy = x + (torch.rand(x.shape, generator=generator) * loud).to(x.device)
    # -10 to 9: the upper end of randint is left out, as in the authors' np.random.randint.
    turns = torch.randint(-10, 10, (len(x),), generator=generator).tolist()
    return torch.stack([row.roll(turn, 0) for row, turn in zip(noisy, turns, strict=True)])
