"""Find where speech begins and ends in a stream that does not wait, as soon as each edge is known.

`percepts.windows.speech` yields stretches of speech after they end; the gate here says while it is open that somebody
speaks. The rules are those of Silero's own iterator. Frames are pushed one by one, so no edge is lost where several
come in one block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .speech import FRAME, Listener, SpeechRules

TALK = SpeechRules(min_silence=0.5, pad=0.1)
"""Rules for conversation: the values of whisper_streaming's voice activity control."""


@dataclass(frozen=True, slots=True)
class SpeechEdge:
    """The sample at which speech begins, or before which it ends; the padding belongs to the speech."""

    begins: bool
    at: int


class SpeechGate:
    """A gate that is open while somebody speaks; push the frames of a stream one by one.

    Of the rules, the lengths `min_speech`, `max_speech` and `min_pause` are ignored.

    >>> gate = SpeechGate(SpeechRules(min_silence=0.1, pad=0.0), rate=16_000, frame=800)
    >>> [edge for p in (0.1, 0.9, 0.2, 0.9, 0.2, 0.2, 0.2) if (edge := gate.push(p))]
    [SpeechEdge(begins=True, at=800), SpeechEdge(begins=False, at=3200)]
    """

    def __init__(self, rules: SpeechRules, rate: float, frame: int) -> None:
        self._enter, self._leave, self._frame = rules.enter, rules.exit, frame
        self._silence, self._pad = round(rules.min_silence * rate), round(rules.pad * rate)
        self._at = self._free = 0  # the first sample of the next frame, and the first that no earlier speech holds
        self._quiet: int | None = None  # first sample of the silence that may end the speech
        self.open = False

    @property
    def certain_until(self) -> int:
        """While the gate is open: the sample before which everything belongs to this speech, whatever follows."""
        return self._at if self._quiet is None else min(self._at, self._quiet + self._pad)

    def push(self, probability: float) -> SpeechEdge | None:
        """Take in the speech probability of the next frame; return the edge that it makes certain, if any."""
        at, self._at = self._at, self._at + self._frame
        if probability >= self._enter:
            self._quiet = None
            if not self.open:
                self.open = True
                # The padding must not reach back into the speech before.
                return SpeechEdge(True, max(self._free, at - self._pad))
        elif self.open and probability < self._leave:
            self._quiet = at if self._quiet is None else self._quiet
            if at - self._quiet >= self._silence:
                self._free = self.certain_until
                self.open, self._quiet = False, None
                return SpeechEdge(False, self._free)
        return None


class AlwaysSpeech:
    """A detector that treats everything as speech: voice activity detection switched off."""

    def listen(self, rate: float) -> Listener:
        """Begin a stream at any rate."""
        return _ConstantListener(max(1, round(rate * FRAME)))


@dataclass(frozen=True, slots=True)
class _ConstantListener:
    """A listener that says 1.0 for every frame."""

    frame: int

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Return (n,) ones for (n, frame) samples."""
        return np.ones(len(frames))
