"""Embed overlapping windows of audio with shared convolutions: the dense mode.

The network runs once over the whole spectrogram and each window takes its 24 columns of the result, where the exact
mode runs it over every window again. A window begins on a column, so hops are multiples of 8 frames of the spectrogram.
Two things differ from the exact mode: a window's edges see the audio beyond them instead of zeros, and its decibels are
relative to the loudest value in the second around each frame instead of in the window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

import numpy as np

from ...networks.openl3.plan import GRID_SHAPES
from ...preprocess.openl3 import FLOOR, FRAMES, RANGE, STRIDE, WINDOW, compute_amplitudes

COLUMN = 8  # frames per column: the network halves the time axis three times
STEP = COLUMN * STRIDE  # samples between columns, 40 ms
COLUMNS = 24  # columns per window
HALO = 40  # frames on either side that a column depends on: 2 + 4 + 8 + 16 by the convolutions, 7 by the poolings
CHUNK = 512  # frames per run of the network, without the halo

Columns = Callable[[np.ndarray], np.ndarray]
"""(F, T) decibels to (512, F // 8, T // 8): the network without its last pooling."""


def nearest_hop(samples: float) -> int:
    """Return the multiple of STEP nearest to `samples`, and at least STEP."""
    return max(1, round(samples / STEP)) * STEP


def compute_dense_vectors(
    blocks: Iterable[np.ndarray], hop: int, lead: int, kind: tuple[str, str], run: Columns, size: int, threads: int,
    spread: Callable[..., Iterable[np.ndarray]],
) -> Iterator[np.ndarray]:  # fmt: skip
    """Yield batches (b, size) of vectors for as many windows as in the exact mode.

    hop      samples, a multiple of STEP
    lead     zeros before the audio
    kind     frontend and representation
    spread   `map`, or that of a pool of `threads`
    """
    pieces = iter(_DecibelChunks(chain([np.zeros(lead, np.float32)], blocks), hop, kind))
    windows = _WindowPooler(hop // STEP, size)
    while batch := list(islice(pieces, threads)):
        for columns in spread(lambda piece: piece.cut(run(piece.levels)), batch):
            windows.add(columns)
        yield from windows.ready()


class _DecibelChunk:
    """Decibels (F, T) of a chunk with its halo, and which of its columns belong to the chunk."""

    def __init__(self, levels: np.ndarray, first: int, count: int) -> None:
        self.levels, self._first, self._count = levels, first, count

    def cut(self, columns: np.ndarray) -> np.ndarray:
        return columns[:, :, self._first : self._first + self._count]


class _DecibelChunks:
    """The chunks of a stream, in order, in the memory of one chunk and one block."""

    def __init__(self, blocks: Iterable[np.ndarray], hop: int, kind: tuple[str, str]) -> None:
        self._blocks, self._hop, self._kind = blocks, hop, kind
        self._frames = FRAMES[kind]
        self._side = self._frames.count // 2  # frames on either side in which the loudest is searched

    def __iter__(self) -> Iterator[_DecibelChunk]:
        levels: np.ndarray | None = None  # from frame `at` on
        at = done = 0
        reach = CHUNK + HALO + self._side
        for more, last in self._levels():
            levels = more if levels is None else np.concatenate([levels, more], axis=1)
            total = at + levels.shape[1]
            while done + reach <= total or (last and done < total):
                yield self._piece(levels, at, done, total)
                done += CHUNK
                kept = max(0, done - HALO - self._side)
                levels, at = levels[:, kept - at :], kept

    def _piece(self, levels: np.ndarray, at: int, start: int, total: int) -> _DecibelChunk:
        low, high = max(0, start - HALO), min(total, start + CHUNK + HALO)
        around = levels[:, max(0, low - self._side) - at : min(total, high + self._side) - at]
        loudest = _sliding_max(around.max(axis=0), self._side)[low - max(0, low - self._side) :][: high - low]
        shown = np.maximum(levels[:, low - at : high - at] - loudest, -RANGE)
        return _DecibelChunk(shown, (start - low) // COLUMN, min(CHUNK, total - start) // COLUMN)

    def _levels(self) -> Iterator[tuple[np.ndarray, bool]]:
        """Yield consecutive decibels (F, T), and whether they are the last."""
        frames, held = self._frames, np.zeros(self._frames.left, np.float32)
        samples = given = 0
        for block in self._blocks:
            samples += len(block)
            held = np.concatenate([held, block.astype(np.float32, copy=False)])
            whole = (len(held) - frames.n_fft) // STRIDE + 1
            count = whole - frames.count  # one window is held back, so that the last part is never empty
            if count > 0:
                yield self._decibels(held, count), False
                held, given = held[count * STRIDE :], given + count
        yield self._decibels(held, self._total(samples) - given), True

    def _total(self, samples: int) -> int:
        """Return the number of frames up to the end of the last window."""
        windows = 1 if samples <= WINDOW else 1 - (WINDOW - samples) // self._hop
        return self._frames.count + (windows - 1) * self._hop // STRIDE

    def _decibels(self, held: np.ndarray, count: int) -> np.ndarray:
        """Return openl3's decibels, 10 log10 of the amplitude, of the first `count` frames of the samples held.

        Samples that are missing at the end are zeros. Unlike `to_decibels`, the largest value does not become 0.
        """
        needed = (count - 1) * STRIDE + self._frames.n_fft
        samples = held[:needed] if len(held) >= needed else np.pad(held, (0, needed - len(held)))
        levels: np.ndarray = np.log(np.maximum(compute_amplitudes(samples, self._frames), FLOOR))
        levels *= 10 / np.log(10)
        return levels


class _WindowPooler:
    """A buffer of columns (512, R, W) that gives the vectors of complete windows."""

    def __init__(self, hop: int, size: int) -> None:
        self._hop, self._size = hop, size  # hop in columns
        self._held: np.ndarray | None = None
        self._skip = 0

    def add(self, columns: np.ndarray) -> None:
        self._held = columns if self._held is None else np.concatenate([self._held, columns], axis=2)

    def ready(self) -> Iterator[np.ndarray]:
        if self._held is None:
            return
        skipped = min(self._skip, self._held.shape[2])
        self._held, self._skip = self._held[:, :, skipped:], self._skip - skipped
        found = []
        while not self._skip and self._held.shape[2] >= COLUMNS:
            found.append(self._vector(self._held[:, :, :COLUMNS]))
            self._skip = max(0, self._hop - self._held.shape[2])
            self._held = self._held[:, :, self._hop :]
        if found:
            yield np.stack(found)

    def _vector(self, columns: np.ndarray) -> np.ndarray:
        vector: np.ndarray = columns.max(axis=(1, 2))
        if self._size == len(vector):
            return vector
        rows, across = GRID_SHAPES["audio"]
        tiles = columns.reshape(columns.shape[0], rows, columns.shape[1] // rows, across, COLUMNS // across)
        vector = tiles.max(axis=(2, 4)).transpose(1, 2, 0).ravel()
        return vector


def _sliding_max(values: np.ndarray, side: int) -> np.ndarray:
    """Return, for each value of (T,), the largest of it and the `side` values before and after it."""
    padded = np.pad(values, side, constant_values=-np.inf)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * side + 1).max(axis=1))
