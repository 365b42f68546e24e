"""Probabilities of speech in, its beginnings and ends out, each as soon as it is known: for streams that do not wait.

`percepts.windows.speech` gives whole stretches, once they are over; this tells of one while it goes on. The rules are
those of Silero's own iterator; each frame is looked at by itself, so no boundary is lost where several come at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .speech import FRAME, Listener, SpeechRules

TALK = SpeechRules(min_silence=0.5, pad=0.1)
"""What whisper_streaming takes for its voice control."""


@dataclass(frozen=True, slots=True)
class SpeechEdge:
    """Speech begins at a sample, or ends before it; its pad is part of it."""

    begins: bool
    at: int


class SpeechGate:
    """Push the frames of a stream one by one; it is open while somebody speaks. Of the rules, lengths are ignored.

    >>> gate = Gate(Rules(min_silence=0.1, pad=0.0), rate=16_000, frame=800)
    >>> [edge for p in (0.1, 0.9, 0.2, 0.9, 0.2, 0.2, 0.2) if (edge := gate.push(p))]
    [Edge(begins=True, at=800), Edge(begins=False, at=3200)]
    """

    def __init__(self, rules: SpeechRules, rate: float, frame: int) -> None:
        self._enter, self._leave, self._frame = rules.enter, rules.exit, frame
        self._silence, self._pad = round(rules.min_silence * rate), round(rules.pad * rate)
        self._at = self._free = 0  # the first sample of the next frame, and the first that no earlier speech holds
        self._quiet: int | None = None  # where it fell quiet, if it did
        self.open = False

    @property
    def certain_until(self) -> int:
        """While it is open: the sample up to which all belongs to this speech, whatever follows."""
        return self._at if self._quiet is None else min(self._at, self._quiet + self._pad)

    def push(self, probability: float) -> SpeechEdge | None:
        """The next frame of the stream; what it makes known."""
        at, self._at = self._at, self._at + self._frame
        if probability >= self._enter:
            self._quiet = None
            if not self.open:
                self.open = True
                return SpeechEdge(True, max(self._free, at - self._pad))
        elif self.open and probability < self._leave:
            self._quiet = at if self._quiet is None else self._quiet
            if at - self._quiet >= self._silence:
                self._free = self.certain_until
                self.open, self._quiet = False, None
                return SpeechEdge(False, self._free)
        return None


class AlwaysSpeech:
    """A detector that takes everything for speech: voice control switched off."""

    def listen(self, rate: float) -> Listener:
        """Begin a stream at any rate."""
        return _ConstantListener(max(1, round(rate * FRAME)))


@dataclass(frozen=True, slots=True)
class _ConstantListener:
    frame: int

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """(n, frame) to (n,) ones."""
        return np.ones(len(frames))
