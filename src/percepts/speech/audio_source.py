"""A recording, or the sound of a film, to blocks of one channel at 16 kHz, and what is known of it at its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import TruncatedMedia
from ..media import Source, mix_to_mono, stream_audio
from ..preprocess.resample import resample
from ..types import Clip

RATE = 16_000
"""Hz of all models of speech here."""


def make_noise() -> Clip:
    """Return a second of made-up sound, by which it can be seen whether a model of speech runs at all."""
    return Clip(np.random.default_rng(0).uniform(-0.1, 0.1, (1, RATE)).astype(np.float32), "audio", float(RATE))


@dataclass(slots=True)
class AudioSource:
    """One source, to be read once: `blocks` of any length; the rest is true once they are all taken.

    Damage ends the blocks like any end and is told in `notes`. Memory is a block.
    """

    source: Source
    block: float = 10.0
    duration: float = 0.0
    notes: list[str] = field(default_factory=list)

    def blocks(self) -> Iterator[Clip]:
        """Mono at 16 kHz; raises what `percepts.stream_audio` raises, but for damage after a good beginning."""
        try:
            yield from resample(self._track_duration(stream_audio(self.source, block=self.block)), RATE)
        except TruncatedMedia as error:
            self.notes.append(str(error))

    def _track_duration(self, blocks: Iterable[Clip]) -> Iterator[Clip]:
        for block in blocks:
            self.duration = max(self.duration, block.stop)
            yield mix_to_mono(block)

    @property
    def name(self) -> str:
        """What results call it."""
        return f"{len(self.source)} bytes" if isinstance(self.source, bytes) else str(self.source)
