"""Pack stretches of speech, with the pauses between them, into windows that are as full as possible."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..types import Clip
from .contiguous import TolerateTruncation, check_contiguous
from .speech import Detector, Energy, SampleBuffer, Span, SpeechRules, cut_speech

PACKED = SpeechRules(min_silence=0.16, pad=0.4, max_speech=30.0)
"""Rules for where windows may be cut: those of faster-whisper's batched mode."""


@dataclass(frozen=True, slots=True, eq=False)
class SpeechPack:
    """A window, and the (start, stop) of each stretch of speech in it, in seconds of the source."""

    clip: Clip
    spoken: tuple[tuple[float, float], ...]


def pack_speech(
    blocks: Iterable[Clip], detector: Detector | None = None, rules: SpeechRules = PACKED, *, window: float = 30.0
) -> Iterator[SpeechPack]:
    """Cut a stream of mono audio at its pauses into windows that are as full as possible.

    A window begins and ends with speech; the pauses inside are kept, so its times are those of the stream. Memory is a
    few windows. A stream without speech yields nothing. Raises what `cut_speech` raises.

    >>> rate = 16_000
    >>> audio = np.zeros((1, 50 * rate), np.float32)
    >>> for second in (1, 8, 40):
    ...     audio[:, second * rate : (second + 1) * rate] = np.sin(np.arange(rate) / 8)
    >>> for pack in pack_speech([Clip(audio, "audio", rate)]):
    ...     print(round(pack.clip.start), round(pack.clip.stop), len(pack.spoken))
    1 9 2
    40 41 1
    """
    if not 2 * rules.pad + 0.1 < window < math.inf:
        raise ValueError(
            f"expected a window longer than both pads, 2 * {rules.pad:g} s, and 0.1 s more, got {window:g} s"
        )
    rules = SpeechRules(
        rules.enter, rules.leave, rules.min_speech, rules.min_silence, min(rules.max_speech, window), rules.pad,
        rules.min_pause,
    )  # fmt: skip
    source = TolerateTruncation(blocks)
    stream = _BufferedBlocks(check_contiguous(source), 3 * window)
    pack: _OpenPack | None = None
    for clip in cut_speech(detector or Energy(), rules)(stream):
        start = round((clip.start - stream.begin) * clip.rate)
        span = start, start + clip.length
        # A stretch is never split here: `max_speech` keeps it within a window.
        if pack is not None and span[1] - pack.start > window * clip.rate:
            yield pack.close(stream)
            pack = None
        if pack is None:
            pack = _OpenPack(start)
        pack.add(span, stream.samples)
    if pack is not None:
        yield pack.close(stream)
    source.release()


class _BufferedBlocks(Iterator[Clip]):
    """The blocks of a stream, of which the newest samples are kept, so that pauses can be read later."""

    def __init__(self, blocks: Iterable[Clip], seconds: float) -> None:
        self._blocks, self._seconds = iter(blocks), seconds
        self.samples = SampleBuffer()
        self.first: Clip | None = None

    def __next__(self) -> Clip:
        block = next(self._blocks)
        self.first = self.first or block
        # `cut_speech` yields a stretch after its end, and the pause before it is read then, too.
        self.samples.forget(self.samples.end - round(self._seconds * block.rate))
        if len(block.data) == 1:  # more channels are refused by `cut_speech`, with a better message
            self.samples.append(block.data[0])
        return block

    @property
    def begin(self) -> float:
        """The second of the source at which the stream begins."""
        return self.first.start if self.first else 0.0


@dataclass
class _OpenPack:
    """A window that may still grow. It holds copies of its samples, so the buffer may forget them."""

    start: int
    spans: list[Span] = field(default_factory=list)
    parts: list[np.ndarray] = field(default_factory=list)

    def add(self, span: Span, samples: SampleBuffer) -> None:
        """Append a stretch of speech and the pause before it."""
        self.parts.append(samples.read(self.spans[-1][1] if self.spans else self.start, span[1]))
        self.spans.append(span)

    def close(self, stream: _BufferedBlocks) -> SpeechPack:
        """Return the finished window."""
        first = stream.first
        assert first is not None
        times = tuple((first.start + a / first.rate, first.start + b / first.rate) for a, b in self.spans)
        data = np.concatenate(self.parts)[None]
        return SpeechPack(Clip(data, "audio", first.rate, first.start + self.start / first.rate, first.source), times)
