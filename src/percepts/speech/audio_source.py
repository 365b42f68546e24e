"""Read audio, or the audio of a video, as blocks of one channel at 16 kHz."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import TruncatedMedia
from ..media import Source, mix_to_mono, stream_audio
from ..preprocess.resample import resample
from ..types import Clip

log = logging.getLogger(__name__)

RATE = 16_000
"""Hz of all models of speech here."""


def make_noise() -> Clip:
    """Return a second of made-up audio, with which a model of speech is tried before any source is read."""
    return Clip(np.random.default_rng(0).uniform(-0.1, 0.1, (1, RATE)).astype(np.float32), "audio", float(RATE))


@dataclass(slots=True)
class AudioSource:
    """The audio of one source, to be read once: take all `blocks`, then `duration` and `notes` hold.

    Damage ends the blocks like any end, and what is wrong stands in `notes`. Memory is a block.
    """

    source: Source
    block: float = 10.0
    duration: float = 0.0
    notes: list[str] = field(default_factory=list)

    def blocks(self) -> Iterator[Clip]:
        """Yield blocks, mono at 16 kHz; raise as `percepts.stream_audio`, except for damage after a good beginning."""
        try:
            yield from resample(self._track_duration(stream_audio(self.source, block=self.block)), RATE)
        except TruncatedMedia as error:
            self.notes.append(str(error))

    def _track_duration(self, blocks: Iterable[Clip]) -> Iterator[Clip]:
        for block in blocks:
            self.duration = max(self.duration, block.stop)
            yield mix_to_mono(block)

    def log_notes(self) -> None:
        """Log as a warning what was wrong with the source, if anything."""
        for note in self.notes:
            log.warning("%s", note)

    @property
    def name(self) -> str:
        """The name of the source in results."""
        return f"{len(self.source)} bytes" if isinstance(self.source, bytes) else str(self.source)
