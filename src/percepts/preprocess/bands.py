"""Sum the power of spectra in triangular bands; log-mel and filter banks share this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CACHED = 1 << 17  # samples in one batch of frames: they and their spectra then stay in a core's second-level cache


@dataclass(frozen=True, eq=False)
class Bands:
    """Triangular filters over the bins of a spectrum, stored as two weights per bin.

    A bin between edge s and edge s + 1 lies on the rising side of band s and on the falling side of band s - 1, so a
    band is the sum of two runs of weighted bins. They are summed one bin of every run at a time and not as a matrix
    product: the result then has the same bits whatever the number of frames and of threads, while BLAS picks its kernel
    by both.

    turns   for each turn: the bins (n,) to add to the n longest runs, their rising and falling weights (n, 1)
    place   (count + 1,) the index of each run when sorted by length
    """

    turns: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]
    place: np.ndarray

    @property
    def count(self) -> int:
        """The number of bands."""
        return len(self.place) - 1

    def sum(self, power: np.ndarray) -> np.ndarray:
        """Sum (F, T) float32 power of the bins to (M, T) of the bands."""
        rising, falling = np.zeros((2, len(self.place), power.shape[1]), np.float32)
        for bins, up, down in self.turns:
            taken = power[bins]
            rising[: len(bins)] += taken * up
            taken *= down
            falling[: len(bins)] += taken
        total: np.ndarray = rising[self.place[:-1]]
        total += falling[self.place[1:]]
        return total


def build_bands(filters: np.ndarray, bins: np.ndarray, edges: np.ndarray) -> Bands:
    """Build Bands from (M, F) triangles, the (F,) places of the bins and the (M + 2,) edges, on one scale."""
    first = np.searchsorted(bins, edges)  # first bin of each run, and the end of the last one
    lengths = np.diff(first)
    order = np.argsort(-lengths, kind="stable")  # longest first, so the unfinished runs are always the first ones
    framed = np.pad(filters, ((1, 1), (0, 0))).astype(np.float32)  # no band before the first nor after the last
    turns = []
    for turn in range(lengths.max(initial=0)):
        going = order[lengths[order] > turn]
        at = first[going] + turn
        turns.append((at, framed[going + 1, at][:, None], framed[going, at][:, None]))
    return Bands(tuple(turns), np.argsort(order))


def build_triangles(bins: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return (M, F) weights of (F,) bins for (M + 2,) edges: band m rises from edge m to 1 at edge m + 1 and falls."""
    slopes = edges[:, None] - bins[None]
    widths = np.diff(edges)[:, None]
    up, down = -slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]
    filters: np.ndarray = np.maximum(0.0, np.minimum(up, down))
    return filters


def band_power(
    frames: np.ndarray,
    taper: np.ndarray,
    n_fft: int,
    bank: Bands,
    power: float = 2.0,
    *,
    less: np.ndarray | None = None,
    first: np.ndarray | None = None,
) -> np.ndarray:
    """Return (M, T) float32 band powers of (T, n) frames, tapered by (n,) weights and filled with zeros to n_fft.

    less    (T,) subtracted from every sample of a frame before the taper
    first   (T,) replaces the first sample of each frame

    The frames are processed in batches that fit the cache, in one set of buffers: allocating new ones would cost more
    than the transform does.
    """
    length, step = len(taper), max(1, CACHED // n_fft)
    out = np.empty((bank.count, len(frames)), np.float32)
    # Columns beyond the taper are never written: they are the zeros that fill a frame to n_fft.
    tapered = np.zeros((step, n_fft), np.float32)
    spectra: np.ndarray = np.empty((step, 1 + n_fft // 2), np.complex64)
    squares = np.empty((1 + n_fft // 2, step), np.float32)
    for at in range(0, len(frames), step):
        n = min(step, len(frames) - at)
        part = tapered[:n, :length]
        if less is None:
            np.multiply(frames[at : at + n], taper, out=part)
        else:
            np.subtract(frames[at : at + n], less[at : at + n, None], out=part)
            if first is not None:
                part[:, 0] = first[at : at + n]
            part *= taper
        # In float32, since numpy 2.0; older ones would compute in float64.
        np.fft.rfft(tapered[:n], out=spectra[:n])
        parts = spectra[:n].view(np.float32)  # re, im, re, im…
        np.square(parts, out=parts)
        bins = np.add(parts.T[::2], parts.T[1::2], out=squares[:, :n])
        if power != 2.0:  # 1.0 is a magnitude: the root of the power
            bins **= power / 2
        out[:, at : at + n] = bank.sum(bins)
    return out


def as_rows(samples: np.ndarray) -> np.ndarray:
    """Return (B, N) or (N,) floats as (B, N) float32; ValueError for anything else."""
    if samples.ndim not in (1, 2) or samples.shape[-1] == 0:
        raise ValueError(f"expected (B, N) or (N,) samples of mono audio, got shape {samples.shape}")
    if samples.dtype.kind != "f":
        raise ValueError(f"expected floats in [-1, 1], got {samples.dtype}: divide integers by their full scale first")
    return np.atleast_2d(samples).astype(np.float32, copy=False)
