"""Turn the updates of a stream into events with times, and measure how late words are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

import numpy as np

from ...types import Clip, Segment
from ..blocks import join_blocks
from .online import StreamUpdate
from .vad_gated import VadGatedTranscriber

Clock = Callable[[], float]
"""Seconds since any moment, as `time.perf_counter` returns them."""


def frozen_clock() -> float:
    """Return the time on a machine where computing takes no time: what is left of a delay is waiting for audio.

    >>> frozen_clock()
    0.0
    """
    return 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """Words of a stream and when they were output. Seconds, on the clock of the stream.

    type      "committed": these words follow those before and stay; "partial": these words may change, and replace the
              partial words before
    time      when it was output: all its audio had arrived and was computed with
    received  how much audio had arrived by then, if computing took no time
    """

    type: Literal["committed", "partial"]
    words: tuple[Segment, ...]
    time: float
    received: float

    def row(self) -> dict[str, Any]:
        """Return the event as JSON lines have it, times in whole milliseconds."""
        words = [{"start": round(word.start, 3), "stop": round(word.stop, 3), "text": word.text} for word in self.words]
        return {"time": round(self.time, 3), "received": round(self.received, 3), "type": self.type, "words": words}


class TimedTranscriber:
    """A stream with a clock: push blocks as they arrive, get events."""

    def __init__(self, live: VadGatedTranscriber, clock: Clock = perf_counter) -> None:
        self._transcriber, self._clock = live, clock
        self._partial: tuple[Segment, ...] = ()
        self.now = self.received = self.spent = 0.0
        """Seconds: of the clock of the stream, of sound that came, of computing."""

    def push(self, block: Clip) -> list[Event]:
        """Push a block that has arrived, or arrives until its end, and return the events."""
        self.received = block.stop
        return self._run_timed(lambda: self._transcriber.push(block))

    def finish(self) -> list[Event]:
        """End the stream and return the last events."""
        return self._run_timed(self._transcriber.finish)

    def _run_timed(self, run: Callable[[], Sequence[StreamUpdate]]) -> list[Event]:
        """Run a step, add the time it took to the clock, and return its events."""
        started = self._clock()
        updates = run()
        elapsed = self._clock() - started
        self.spent += elapsed
        # A pass begins when its audio is there and the pass before it has ended.
        self.now = max(self.now, self.received) + elapsed
        return [event for update in updates for event in self._make_events(update)]

    def _make_events(self, update: StreamUpdate) -> Iterator[Event]:
        """Yield an event for the words committed, and one for the partial words where they changed."""
        if update.committed:
            yield Event("committed", update.committed, self.now, self.received)
        # After a commit the partial words are sent again, because they follow other words now.
        if update.partial != self._partial or (update.committed and update.partial):
            yield Event("partial", update.partial, self.now, self.received)
        self._partial = update.partial


def stream_events(blocks: Iterable[Clip], stream: TimedTranscriber) -> Iterator[Event]:
    """Push block after block as they arrive, and yield the events."""
    for block in blocks:
        yield from stream.push(block)
    yield from stream.finish()


def replay_events(blocks: Iterable[Clip], stream: TimedTranscriber) -> Iterator[Event]:
    """Simulate a stream: blocks that would have arrived while the model was busy are pushed together.

    Nothing sleeps, so audio is replayed as fast as it can be computed. With `frozen_clock` the events are the same
    every time.
    """
    source = iter(blocks)
    waiting = next(source, None)
    while waiting is not None:
        # Time goes on while the model computes: all that has arrived by then is one block.
        arrived = [waiting]
        waiting = next(source, None)
        while waiting is not None and waiting.stop <= stream.now:
            arrived.append(waiting)
            waiting = next(source, None)
        yield from stream.push(join_blocks(arrived))
    yield from stream.finish()


@dataclass(frozen=True, slots=True)
class LatencyStats:
    """How late words are. Seconds between the end of a word, as the model recognised it, and its commit.

    words     number of committed words
    aware     mean, p50, p90 and p95 of the seconds, the time of computing included
    unaware   the same, if computing took no time
    revision  share of the partial words that the next event withdrew or changed
    stall     the longest time for which words were partial and none was committed
    rtf       seconds of computing per second of audio
    """

    words: int
    aware: Mapping[str, float]
    unaware: Mapping[str, float]
    revision: float
    stall: float
    rtf: float


def measure_latency(events: Iterable[Event], *, spent: float = 0.0) -> LatencyStats:
    """Compute the latency of a stream whose computing took `spent` seconds."""
    all_events = list(events)
    committed = [(event, word) for event in all_events if event.type == "committed" for word in event.words]
    received = max((event.received for event in all_events), default=0.0)
    return LatencyStats(
        len(committed),
        summarise_seconds([event.time - word.stop for event, word in committed]),
        summarise_seconds([event.received - word.stop for event, word in committed]),
        _measure_revision(all_events),
        _find_longest_stall(all_events),
        spent / received if received else 0.0,
    )


def summarise_seconds(seconds: Sequence[float]) -> dict[str, float]:
    """Return mean and percentiles; zeros for an empty list.

    >>> summarise_seconds([1.0, 2.0, 6.0])["mean"]
    3.0
    """
    values = np.array(seconds or [0.0])
    points = {f"p{share}": float(np.percentile(values, share)) for share in (50, 90, 95)}
    return {"mean": float(values.mean()), **points}


def _measure_revision(events: Sequence[Event]) -> float:
    """Return the share of partial words that the next partial event does not confirm."""
    shown = changed = 0
    partial: tuple[str, ...] = ()
    fresh: list[str] = []  # committed since the last partial event
    for event in events:
        texts = tuple(word.text.strip() for word in event.words)
        if event.type == "committed":
            fresh += texts
            continue
        # Partial words that were committed meanwhile are confirmed, not withdrawn.
        now = (*fresh, *texts)
        shown += len(partial)
        changed += sum(i >= len(now) or now[i] != text for i, text in enumerate(partial))
        partial, fresh = texts, []
    return changed / shown if shown else 0.0


def _find_longest_stall(events: Sequence[Event]) -> float:
    """Return the longest time for which words were partial and none was committed."""
    longest, since = 0.0, None
    for event in events:
        if since is not None:
            longest = max(longest, event.time - since)
        if event.type == "committed" or not event.words:
            since = None
        elif since is None:
            since = event.time
    return longest
