"""A stream and a clock in, events out: which words stay or may change, when that was told, and how late that is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

import numpy as np

from ...types import Clip, Segment
from .online import StreamUpdate
from .vad_gated import VadGatedTranscriber

Clock = Callable[[], float]
"""Seconds since any moment, as `time.perf_counter` gives them."""


def frozen_clock() -> float:
    """The clock of a machine on which computing takes no time: what is left of a delay is waiting for sound.

    >>> still()
    0.0
    """
    return 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """What was told of a stream, and when. Seconds, on the clock of the stream.

    type      "committed": these words come after those before and stay; "partial": these may, instead of the partial
              words before
    time      when it was told: all its sound had come and was computed with
    received  how much sound had come by then, were computing to take no time
    """

    type: Literal["committed", "partial"]
    words: tuple[Segment, ...]
    time: float
    received: float

    def row(self) -> dict[str, Any]:
        """As JSON lines have it, times in whole milliseconds."""
        words = [{"start": round(word.start, 3), "stop": round(word.stop, 3), "text": word.text} for word in self.words]
        return {"time": round(self.time, 3), "received": round(self.received, 3), "type": self.type, "words": words}


class TimedTranscriber:
    """A stream on a clock: push what has come, get events."""

    def __init__(self, live: VadGatedTranscriber, clock: Clock = perf_counter) -> None:
        self._transcriber, self._clock = live, clock
        self._partial: tuple[Segment, ...] = ()
        self.now = self.received = self.spent = 0.0
        """Seconds: of the clock of the stream, of sound that came, of computing."""

    def push(self, block: Clip) -> list[Event]:
        """Sound that has come by now, or comes until its end is there."""
        self.received = block.stop
        return self._run_timed(lambda: self._transcriber.push(block))

    def finish(self) -> list[Event]:
        """No more sound comes."""
        return self._run_timed(self._transcriber.finish)

    def _run_timed(self, run: Callable[[], Sequence[StreamUpdate]]) -> list[Event]:
        begun = self._clock()
        updates = run()
        took = self._clock() - begun
        self.spent += took
        self.now = max(self.now, self.received) + took
        return [event for update in updates for event in self._make_events(update)]

    def _make_events(self, update: StreamUpdate) -> Iterator[Event]:
        if update.committed:
            yield Event("committed", update.committed, self.now, self.received)
        if update.partial != self._partial or (update.committed and update.partial):
            yield Event("partial", update.partial, self.now, self.received)
        self._partial = update.partial


def stream_events(blocks: Iterable[Clip], stream: TimedTranscriber) -> Iterator[Event]:
    """Block after block, as they come."""
    for block in blocks:
        yield from stream.push(block)
    yield from stream.finish()


def replay_events(blocks: Iterable[Clip], stream: TimedTranscriber) -> Iterator[Event]:
    """As if the blocks came in their own time: what would have come while the model was at work is heard at once.

    Nothing sleeps, so a recording is replayed as fast as it can be computed with, and with the clock `still` the same
    events come every time.
    """
    source = iter(blocks)
    waiting = next(source, None)
    while waiting is not None:
        come = [waiting]
        waiting = next(source, None)
        while waiting is not None and waiting.stop <= stream.now:
            come.append(waiting)
            waiting = next(source, None)
        yield from stream.push(join_blocks(come))
    yield from stream.finish()


def join_blocks(blocks: Sequence[Clip]) -> Clip:
    """Blocks of one stream that follow one another, as one."""
    first = blocks[0]
    if len(blocks) == 1:
        return first
    data = np.concatenate([block.data for block in blocks], axis=1)
    return Clip(data, first.kind, first.rate, first.start, first.source)


@dataclass(frozen=True, slots=True)
class LatencyStats:
    """How late words come. Seconds between the end of a word, as the model heard it, and its being committed.

    words     that were committed
    aware     mean, p50, p90 and p95 of the seconds, the time of computing counted
    unaware   the same, were computing to take no time
    revision  share of the partial words that were taken back, or told otherwise, the next time
    stall     the longest time for which words were partial and none was committed
    rtf       seconds of computing for a second of sound
    """

    words: int
    aware: Mapping[str, float]
    unaware: Mapping[str, float]
    revision: float
    stall: float
    rtf: float


def measure_latency(events: Iterable[Event], *, spent: float = 0.0) -> LatencyStats:
    """The figures of a stream, of which computing took `spent` seconds."""
    found = list(events)
    committed = [(event, word) for event in found if event.type == "committed" for word in event.words]
    received = max((event.received for event in found), default=0.0)
    return LatencyStats(
        len(committed),
        summarise_seconds([event.time - word.stop for event, word in committed]),
        summarise_seconds([event.received - word.stop for event, word in committed]),
        _measure_revision(found),
        _find_longest_stall(found),
        spent / received if received else 0.0,
    )


def summarise_seconds(seconds: Sequence[float]) -> dict[str, float]:
    """Mean and percentiles; zeros of nothing.

    >>> spread([1.0, 2.0, 6.0])["mean"]
    3.0
    """
    values = np.array(seconds or [0.0])
    points = {f"p{share}": float(np.percentile(values, share)) for share in (50, 90, 95)}
    return {"mean": float(values.mean()), **points}


def _measure_revision(events: Sequence[Event]) -> float:
    shown = changed = 0
    partial: tuple[str, ...] = ()
    fresh: list[str] = []  # committed since the partial
    for event in events:
        texts = tuple(word.text.strip() for word in event.words)
        if event.type == "committed":
            fresh += texts
            continue
        now = (*fresh, *texts)
        shown += len(partial)
        changed += sum(i >= len(now) or now[i] != text for i, text in enumerate(partial))
        partial, fresh = texts, []
    return changed / shown if shown else 0.0


def _find_longest_stall(events: Sequence[Event]) -> float:
    longest, since = 0.0, None
    for event in events:
        if since is not None:
            longest = max(longest, event.time - since)
        if event.type == "committed" or not event.words:
            since = None
        elif since is None:
            since = event.time
    return longest
