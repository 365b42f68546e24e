"""Pool the windows of a source into one record: their mean, each weighted by its duration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from ..types import Record


@dataclass(slots=True)
class WindowMean:
    """The running mean of the windows of one source by one model; memory is two vectors, however many windows.

    Unit vectors give a unit vector. Windows without a duration, such as images, count alike.
    """

    _first: Record | None = None
    _sums: list[np.ndarray] = field(default_factory=list)
    _seconds: float = 0.0
    _count: int = 0
    _unit: bool = True

    def add(self, window: Record) -> None:
        """Add a window; ValueError for one without a vector, or of another source or model than those before."""
        if self._first is None:
            self._first = replace(window, vector=None)  # the sums hold its vector
        first = self._first
        if window.vector is None or (window.source, window.model) != (first.source, first.model):
            raise ValueError(f"expected windows with vectors of one source and one model, got {window} after {first}")
        # float64, since float32 loses digits over the windows of hours.
        vector, seconds = window.vector.astype(np.float64), window.stop - window.start
        sums = self._sums or [np.zeros_like(vector), np.zeros_like(vector)]
        # Both sums: only at the end is it known whether any window has a duration.
        self._sums = [sums[0] + seconds * vector, sums[1] + vector]
        # A record that was pooled before stands for several windows.
        self._seconds, self._count = self._seconds + seconds, self._count + window.windows
        # 1e-4 lets rounding of float32 pass: such windows were meant to have length one.
        self._unit = self._unit and abs(float(np.linalg.norm(vector)) - 1) < 1e-4
        self._first = replace(first, start=min(first.start, window.start), stop=max(first.stop, window.stop))

    def record(self) -> Record:
        """Return the pooled record, from the first start to the last stop; ValueError without any window."""
        if self._first is None:
            raise ValueError("expected at least one window, got none")
        mean = self._sums[0] / self._seconds if self._seconds else self._sums[1] / self._count
        # Opposite vectors cancel out, and zeros have no direction.
        if self._unit and mean.any():
            mean /= np.linalg.norm(mean)
        return replace(self._first, vector=mean.astype(np.float32), windows=self._count)


def pool_windows(windows: Iterable[Record]) -> Record:
    """Return the record of a source from those of its windows; ValueError for none, or for several sources or models.

    >>> a = Record("a.wav", 0.0, 10.0, "m", "audio", np.float32([1, 0]))
    >>> b = Record("a.wav", 10.0, 15.0, "m", "audio", np.float32([0, 2]))
    >>> whole([a, b]).vector, whole([a, b]).windows
    (array([0.6666667, 0.6666667], dtype=float32), 2)
    """
    pooled = WindowMean()
    for window in windows:
        pooled.add(window)
    return pooled.record()
