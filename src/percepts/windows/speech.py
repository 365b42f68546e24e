"""Cut a stream of audio into its stretches of speech; each becomes a clip that knows when it was said."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..types import Clip, Windower
from .contiguous import TolerateTruncation, check_contiguous

Span = tuple[int, int]
"""The first sample of a stretch, and the one after its last."""


class Listener(Protocol):
    """A speech detector at work on one stream; it may remember what it has heard."""

    @property
    def frame(self) -> int:
        """The number of samples to one probability."""

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Return (n,) probabilities of speech for the next n frames of the stream, (n, frame) float32."""


class Detector(Protocol):
    """A detector of speech: `Energy` here, `percepts.encoders.silero.Silero` with weights."""

    def listen(self, rate: float) -> Listener:
        """Begin a stream. Raises ValueError for a rate in Hz that it does not support."""


@dataclass(frozen=True, slots=True)
class SpeechRules:
    """How probabilities become stretches of speech; the rules and defaults are those of Silero's own post-processing.

    enter        speech begins where the probability reaches this
    leave        and may end where it falls below this; None: 0.15 less than `enter`
    min_speech   seconds; shorter stretches are dropped
    min_silence  seconds of silence that end a stretch
    max_speech   seconds; longer stretches are cut at their longest pause, or hard where there is none
    pad          seconds added at both ends; two stretches share a gap that is too short for both
    min_pause    seconds of silence that count as a pause to cut at
    """

    enter: float = 0.5
    leave: float | None = None
    min_speech: float = 0.25
    min_silence: float = 0.1
    max_speech: float = math.inf
    pad: float = 0.03
    min_pause: float = 0.098

    def __post_init__(self) -> None:
        if not 0 < self.exit <= self.enter < 1:
            raise ValueError(f"expected 0 < leave <= enter < 1, got enter = {self.enter}, leave = {self.leave}")
        lengths = (self.min_speech, self.min_silence, self.pad, self.min_pause)
        if not all(0 <= length < math.inf for length in lengths):
            raise ValueError(f"expected seconds, zero or more, got {self}")
        if not self.max_speech > 2 * self.pad + 0.1:
            raise ValueError(f"expected max_speech to be more than 0.1 s and both pads, got {self}")

    @property
    def exit(self) -> float:
        """The probability below which speech may end, with the default filled in."""
        return max(self.enter - 0.15, 0.01) if self.leave is None else self.leave


BOUNDED = SpeechRules(max_speech=30.0)
"""The default of `cut_speech`: memory stays at a minute of audio, however long somebody speaks."""


def cut_speech(detector: Detector | None = None, rules: SpeechRules = BOUNDED) -> Windower:
    """Cut a stream of mono audio into its stretches of speech, as clips of varying length.

    Each clip holds the unchanged samples of the stream and starts exactly where they stood in it. A clip is yielded as
    soon as nothing that follows can change it, so a microphone works like a file. How the stream is divided into blocks
    changes nothing. With `max_speech` finite, memory is twice that and a block. A stream without speech yields nothing.

    Args:
        detector: default `Energy()`, which needs no weights and treats whatever stands out from the noise as speech.
        rules: when speech begins and ends.

    A source that breaks off with TruncatedMedia is cut up to its last good sample before the error is passed on.

    Raises ValueError for audio of several channels, a rate that the detector does not support, and for blocks that do
    not follow one another.

    >>> rate = 16_000
    >>> audio = np.zeros((1, 3 * rate), np.float32)
    >>> audio[:, rate : 2 * rate] = np.sin(np.arange(rate) / 8)
    >>> [(round(clip.start, 2), round(clip.stop, 2)) for clip in cut_speech()([Clip(audio, "audio", rate)])]
    [(0.96, 2.05)]
    """
    return lambda blocks: _cut_speech(blocks, detector or Energy(), rules)


def _cut_speech(blocks: Iterable[Clip], detector: Detector, rules: SpeechRules) -> Iterator[Clip]:
    """Cut a stream, whose first block tells its rate."""
    source = TolerateTruncation(blocks)
    cutter: _SpeechCutter | None = None
    for block in check_contiguous(source):
        if cutter is None:
            cutter = _SpeechCutter(block, detector.listen(_check_mono(block).rate), rules)
        yield from cutter.push(block)
    if cutter is not None:
        yield from cutter.finish()
    source.release()


def _check_mono(block: Clip) -> Clip:
    """Return the block; raise ValueError unless it is audio of one channel."""
    if block.kind != "audio" or block.data.shape[0] != 1:
        raise ValueError(f"expected audio of one channel, got {block}: mix it down first")
    return block


class _SpeechCutter:
    """The probabilities of a stream so far, and the samples that may still be needed."""

    def __init__(self, first: Clip, listener: Listener, rules: SpeechRules) -> None:
        self.first, self.listener = first, listener
        self.samples = SampleBuffer()
        self.heard = 0  # samples that have a probability
        self.spans = SpanTracker(rules, first.rate, listener.frame)

    def push(self, block: Clip) -> Iterator[Clip]:
        """Append one block; yield the speech that it completes."""
        self.samples.append(block.data[0])
        frame = self.listener.frame
        ready = (self.samples.end - self.heard) // frame * frame
        if ready:
            frames = self.samples.read(self.heard, self.heard + ready).reshape(-1, frame)
            self.heard += ready
            yield from self._make_clips(self.spans.push(self.listener(frames)))
            self.samples.forget(min(self.spans.needed, self.heard))

    def finish(self) -> Iterator[Clip]:
        """Yield the speech at the end of the stream, whose last frame is filled with zeros."""
        end, frame = self.samples.end, self.listener.frame
        if end > self.heard:
            last = np.zeros((1, frame), np.float32)
            last[0, : end - self.heard] = self.samples.read(self.heard, end)
            yield from self._make_clips(self.spans.push(self.listener(last)))
        yield from self._make_clips(self.spans.finish(end))

    def _make_clips(self, spans: Iterable[Span]) -> Iterator[Clip]:
        """Yield the samples of spans as clips."""
        first = self.first
        for start, stop in spans:
            data = self.samples.read(start, min(stop, self.samples.end))[None]
            yield Clip(data, "audio", first.rate, first.start + start / first.rate, first.source)


class SampleBuffer:
    """The newest samples of a stream, addressed by their number in it."""

    def __init__(self) -> None:
        self.begin = self.end = 0
        self._blocks: deque[np.ndarray] = deque()

    def append(self, samples: np.ndarray) -> None:
        """Append the next samples, (N,)."""
        self._blocks.append(samples)
        self.end += len(samples)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return a copy of samples start to stop, all of which must still be in the buffer."""
        parts, at = [], self.begin
        for block in self._blocks:
            if at < stop and at + len(block) > start:
                parts.append(block[max(start - at, 0) : stop - at])
            at += len(block)
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def forget(self, before: int) -> None:
        """Drop the blocks that end at or before that sample; a block is never cut, so nothing is copied."""
        while self._blocks and self.begin + len(self._blocks[0]) <= before:
            self.begin += len(self._blocks.popleft())


class SpanTracker:
    """A tracker that turns probabilities into stretches of speech by SpeechRules, each as soon as it is certain.

    >>> spans = SpanTracker(SpeechRules(pad=0), rate=16_000, frame=512)
    >>> spans.push(np.array([0.1] * 10 + [0.9] * 20 + [0.1] * 10)), spans.finish(40 * 512)
    ([(5120, 15360)], [])
    """

    def __init__(self, rules: SpeechRules, rate: float, frame: int) -> None:
        self._enter, self._leave, self._frame = rules.enter, rules.exit, frame
        self._least, self._silence = round(rules.min_speech * rate), round(rules.min_silence * rate)
        self._pause, self._pad = round(rules.min_pause * rate), round(rules.pad * rate)
        self._most = rules.max_speech * rate - frame - 2 * self._pad
        self._at = 0  # the first sample of the next frame
        self._since: int | None = None  # where the current speech began
        self._quiet: int | None = None  # where the silence that may end it began
        self._pauses: list[Span] = []  # inside the current speech
        self._held: Span | None = None  # a stretch whose end still depends on where the next one begins
        self._out: list[Span] = []

    @property
    def needed(self) -> int:
        """The first sample that a stretch still to come may contain."""
        if self._held is not None:
            return self._held[0]
        return max(0, (self._at if self._since is None else self._since) - self._pad)

    def push(self, probabilities: np.ndarray) -> list[Span]:
        """Take in the probabilities of the next frames; return the padded stretches that they make certain."""
        for probability in probabilities.tolist():
            self._add_frame(self._at, probability)
            self._at += self._frame
        self._release_held(self._at if self._since is None else self._since)
        return self._take_finished()

    def finish(self, total: int) -> list[Span]:
        """Return the stretches left at the end of a stream of `total` samples."""
        if self._since is not None and total - self._since > self._least:
            self._add_stretch(self._since, total)
        if self._held is not None:
            start, stop = self._held
            self._out.append((start, min(total, stop + self._pad)))
        self._since = self._held = None
        return self._take_finished()

    def _take_finished(self) -> list[Span]:
        """Return the finished stretches, and empty the list."""
        out, self._out = self._out, []
        return out

    def _add_frame(self, at: int, probability: float) -> None:
        """Take in the probability of the frame at sample `at`."""
        if probability >= self._enter:
            if self._since is None:
                self._since = at
                return
            if self._quiet is not None and at - self._quiet > self._pause:
                self._pauses.append((self._quiet, at))
            self._quiet = None
        if self._since is None:
            return
        if at - self._since > self._most and not self._end_too_long(self._since, at):
            return
        if probability < self._leave:
            self._quiet = at if self._quiet is None else self._quiet
            if at - self._quiet >= self._silence:
                if self._quiet - self._since > self._least:
                    self._add_stretch(self._since, self._quiet)
                self._begin_stretch(None)

    def _end_too_long(self, since: int, at: int) -> bool:
        """End speech that lasts too long: at its longest pause, after which it continues (True), or here (False)."""
        if not self._pauses:
            self._add_stretch(since, at)
            self._begin_stretch(None)
            return False
        start, stop = max(self._pauses, key=lambda pause: pause[1] - pause[0])
        self._add_stretch(since, start)
        self._begin_stretch(stop)
        return True

    def _begin_stretch(self, since: int | None) -> None:
        """Begin a stretch at a sample, or wait for the next one (None)."""
        self._since, self._quiet, self._pauses = since, None, []

    def _add_stretch(self, start: int, stop: int) -> None:
        """Add a stretch without its pads; it decides how much of the gap between them the previous one gets."""
        if self._held is None:
            self._held = (max(0, start - self._pad), stop)
            return
        gap = start - self._held[1]
        share = gap // 2 if gap < 2 * self._pad else self._pad
        self._out.append((self._held[0], self._held[1] + share))
        self._held = (start - share, stop)

    def _release_held(self, earliest: int) -> None:
        """Finish the held stretch if none that begins at `earliest` or later can share its gap."""
        if self._held is not None and earliest - self._held[1] >= 2 * self._pad:
            self._out.append((self._held[0], self._held[1] + self._pad))
            self._held = None


FRAME = 0.032  # seconds, the length of Silero's frames
QUIET = -55.0  # dB of full scale below which nothing is speech
NOISE = -45.0  # dB: the most that the noise is assumed to be before there are MEMORY seconds to measure it
MEMORY = 5.0  # seconds in which every speaker takes a breath: their quietest frame is the noise
ABOVE = 9.0  # dB over the noise at which the probability of speech is 1/2
SOFTNESS = 2.0  # dB by which the probability grows from 1/2 to 0.73


class Energy:
    """A detector of whatever stands out from the noise: no weights, any rate; music or a door counts as speech, too.

    The noise is the quietest frame of the last five seconds (minimum statistics, Martin 2001), so a hum that begins
    counts as speech for that long and as noise from then on.
    """

    def listen(self, rate: float) -> Listener:
        """Begin a stream at a rate of at least 100 Hz."""
        if rate < 100:
            raise ValueError(f"expected audio at 100 Hz or more, got {rate} Hz")
        return _LoudnessListener(round(rate * FRAME))


class _LoudnessListener:
    """The listener of `Energy`: the level of each frame against that of the noise."""

    def __init__(self, frame: int) -> None:
        self.frame = frame
        self._at = 0
        self._lowest: deque[tuple[int, float]] = deque()  # frame and level, rising: the first is the minimum

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Return (n,) probabilities of speech for (n, frame) samples."""
        power = np.einsum("nf,nf->n", frames, frames, dtype=np.float64) / self.frame
        level = 10 * np.log10(power + 1e-12)  # silence becomes -120 dB, not -inf
        noise = np.array([self._estimate_noise(float(value)) for value in level])
        likely = 1 / (1 + np.exp(-np.clip((level - noise - ABOVE) / SOFTNESS, -50, 50)))
        result: np.ndarray = np.where(level > QUIET, likely, 0.0)
        return result

    def _estimate_noise(self, level: float) -> float:
        """Add the level of a frame, and return the level of the noise, at least -90 dB."""
        lowest = self._lowest
        while lowest and lowest[-1][1] >= level:
            lowest.pop()
        lowest.append((self._at, level))
        if lowest[0][0] <= self._at - MEMORY / FRAME:
            lowest.popleft()
        self._at += 1
        known = self._at >= MEMORY / FRAME
        return max(lowest[0][1] if known else min(lowest[0][1], NOISE), -90.0)
