"""Resample streams as resampy 0.2.2's `kaiser_best` does, for numbers equal to those of tools built on it.

Julius O. Smith's band-limited interpolation: a windowed sinc of 64 zero crossings, tabulated 512 times per crossing and
interpolated between. https://ccrma.stanford.edu/~jos/resample/. resampy 0.3 changed the table, and with it the numbers.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

CROSSINGS = 64  # zero crossings of the sinc on each side; this and the next three are resampy's `kaiser_best`
PRECISION = 512  # table entries from one zero crossing to the next
ROLLOFF = 0.9475937167399596
BETA = 14.769656459379492
SPAN = 256  # input samples, at least, by which one block of filters advances
CACHED = 4096  # filters that are cached; rates without a common divisor would need more
FINEST = 1_000_000  # largest denominator of the ratio of the rates


def resample(samples: np.ndarray, rate_in: float, rate_out: float) -> np.ndarray:
    """Resample (N,) floats to (int(N * rate_out / rate_in),) of the same dtype; the computation is in float64.

    resampy adds up its clock in one rounded step per sample; here it is exact. The difference grows with the length:
    under 1e-6 of a sample in two seconds.
    Raises ValueError where not one sample would remain.

    >>> resample(np.zeros(44_100), 44_100, 48_000).shape
    (48000,)
    """
    stream = Resampler(rate_in, rate_out)
    out = np.concatenate([stream.push(samples), stream.finish()])
    if not len(out):
        raise ValueError(f"{len(samples)} samples are too few to resample from {rate_in:g} to {rate_out:g} Hz")
    return out.astype(samples.dtype, copy=False)


class Resampler:
    """`resample` for a stream: however the blocks are cut, the same numbers result (up to float64 rounding)."""

    def __init__(self, rate_in: float, rate_out: float) -> None:
        if not (0 < rate_in < math.inf and 0 < rate_out < math.inf):
            raise ValueError(f"expected rates above 0, got {rate_in} and {rate_out}")
        self.ratio = float(rate_out) / float(rate_in)
        step = (Fraction(rate_in) / Fraction(rate_out)).limit_denominator(FINEST)
        self._filters = _Filters(step.denominator, step.numerator, min(1.0, self.ratio))
        reach = self._filters.reach
        self._held = np.zeros(reach)  # input samples from `_at - reach` on
        self._at = 0  # input sample at or after which the next output lies
        self._phase = 0  # how far after it, in `up`ths of a sample
        self._taken = self._given = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take in (N,) samples; return the float64 outputs that need no later input."""
        self._taken += len(samples)
        self._held = np.concatenate([self._held, samples])
        return self._drain_outputs(math.inf)

    def finish(self) -> np.ndarray:
        """Return the remaining outputs; zeros follow the last sample."""
        left = int(self._taken * self.ratio) - self._given
        span = self._filters.span(self._phase)
        blocks = left // self._filters.count + 1
        self._held = np.concatenate([self._held, np.zeros((blocks + 1) * (span + 1) + 2 * self._filters.reach + 2)])
        return self._drain_outputs(left)

    def _drain_outputs(self, limit: float) -> np.ndarray:
        """Compute up to `limit` outputs, as far as the input suffices."""
        parts, filters = [], self._filters
        while limit > 0:
            bank = filters.bank(self._phase)
            advance = filters.span(self._phase)
            blocks = self._count_blocks(bank.shape[1], advance)
            if not blocks:
                break
            cut = np.lib.stride_tricks.sliding_window_view(self._held, bank.shape[1])[::advance][:blocks]
            part = (np.ascontiguousarray(cut) @ bank.T).ravel()[: None if limit == math.inf else int(limit)]
            parts.append(part)
            limit -= len(part)
            self._given += len(part)
            self._advance(blocks, advance)
        return np.concatenate(parts) if parts else np.empty(0)

    def _count_blocks(self, width: int, advance: int) -> int:
        """Return the blocks of outputs for which there is input; one at a time where the phase changes."""
        fit = (len(self._held) - width) // advance + 1 if len(self._held) >= width else 0
        return fit if self._filters.periodic else min(fit, 1)

    def _advance(self, blocks: int, advance: int) -> None:
        """Drop the input of these blocks, and move the phase."""
        self._held = self._held[blocks * advance :]
        self._phase = self._filters.next_phase(self._phase)


class _Filters:
    """Banks of interpolation filters. Output m lies at input time m * down / up."""

    def __init__(self, up: int, down: int, scale: float) -> None:
        self.up, self.down, self.scale = up, down, scale
        # Table entries from one input to the next, cut to a whole number as resampy does.
        self.step = int(scale * PRECISION)
        if not self.step:
            raise ValueError(
                f"expected a rate at most {PRECISION} times lower than before, got {1 / scale:g} times lower"
            )
        self.reach = (CROSSINGS * PRECISION + 1) // self.step  # inputs on either side of an output
        self.periodic = up <= CACHED
        self.count = up * max(1, SPAN // down) if self.periodic else 256  # outputs of one block

    def span(self, phase: int) -> int:
        """Return the input samples from the start of this block of outputs to that of the next."""
        return (phase + self.count * self.down) // self.up

    def next_phase(self, phase: int) -> int:
        """Return the phase of the next block of outputs."""
        return (phase + self.count * self.down) % self.up

    def bank(self, phase: int) -> np.ndarray:
        """Return the filters of a block of outputs that begins at this phase."""
        return _build_filters(self.up, self.down, self.scale, self.count, phase)


@lru_cache(maxsize=8)
def _build_filters(up: int, down: int, scale: float, count: int, phase: int) -> np.ndarray:
    """Build (count, inputs): row m weighs the inputs, from `reach` before the block's first on, for its output m."""
    # Towards a lower rate the filter is wider, and as much lower, so that its sum stays 1.
    table = _build_window_table() * scale if scale < 1 else _build_window_table()
    step = int(scale * PRECISION)
    reach = (len(table) - 1) // step
    times = phase + np.arange(count, dtype=np.int64) * down
    at, behind = times // up, (times % up) / up
    bank = np.zeros((count, int(at[-1]) + 2 * reach + 2))
    for side, distance in ((-1, scale * behind), (1, scale - scale * behind)):
        weights, used = _filter_wing(table, distance, step, reach)
        columns = at[:, None] + reach + (side > 0) + side * np.arange(reach)
        bank[np.arange(count)[:, None], columns] = np.where(used, weights, 0.0)
    return bank


def _filter_wing(table: np.ndarray, distance: np.ndarray, step: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (count, reach) weights of the inputs on one side, nearest first, and which of them resampy uses."""
    place = distance * PRECISION
    offset = place.astype(np.int64)
    between = (place - offset)[:, None]
    index = offset[:, None] + np.arange(reach) * step
    used = np.arange(reach) < ((len(table) - offset) // step)[:, None]
    low = np.minimum(index, len(table) - 1)
    high = np.minimum(low + 1, len(table) - 1)  # after its last entry the table stays flat, as resampy has it
    return table[low] + between * (table[high] - table[low]), used


@lru_cache(maxsize=1)
def _build_window_table() -> np.ndarray:
    """Build (32769,), the right half of the windowed sinc."""
    points = CROSSINGS * PRECISION
    sinc = ROLLOFF * np.sinc(ROLLOFF * np.linspace(0, CROSSINGS, points + 1))
    return np.asarray(sinc * np.kaiser(2 * points + 1, BETA)[points:])
