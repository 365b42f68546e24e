"""A CTC engine that needs no weights: sound says its letters, so that what comes of it is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from percepts.types import Clip


class Scripted:
    """A frame's first sample is the number of its letter, and `context` frames on each side change its probability."""

    kind: ClassVar[Literal["ctc"]] = "ctc"
    name, rate, samples_per_frame = "scripted", 1000, 10
    vocabulary: Sequence[str] = ("<pad>", "|", "a", "b", "c", "n", "o", "w")
    blank, delimiter = 0, "|"
    field = 15  # samples that a frame looks at

    def __init__(self, context: int = 0) -> None:
        self.context = context
        self.longest = 0

    def emissions(self, wave: np.ndarray) -> np.ndarray:
        self.longest = max(self.longest, len(wave))
        frames = max((len(wave) - self.field) // self.samples_per_frame + 1, 1)
        wave = np.pad(wave, (0, max(self.field - len(wave), 0)))
        places = np.arange(frames) * self.samples_per_frame
        letters = wave[places].astype(int)
        last = np.pad(wave[places + self.field - 1], self.context)
        doubt = sum(last[i : i + frames] for i in range(2 * self.context + 1)) % 8
        logits = np.zeros((frames, len(self.vocabulary)), np.float32)
        logits[np.arange(frames), letters] = 6.0 - doubt / 2
        result: np.ndarray = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return result


def sound(letters: Sequence[int], extra: int = 0, start: float = 0.0) -> Clip:
    """A frame of sound for each letter."""
    data = np.repeat(np.array(letters, np.float32), Scripted.samples_per_frame)
    return Clip(np.append(data, np.zeros(extra, np.float32))[None], "audio", Scripted.rate, start, "s")


def spelled(text: str) -> list[int]:
    """A text as letters, "_" for the blank."""
    return [0 if letter == "_" else Scripted.vocabulary.index(letter) for letter in text]
