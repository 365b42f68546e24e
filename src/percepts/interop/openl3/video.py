"""A film → how many frames it has a second, and how long it is."""

from __future__ import annotations

import av

from ...errors import DecodeError, NotMedia


def read_frame_rate(path: str) -> float:
    """The average frame rate. Raises NotMedia without moving pictures, DecodeError where it cannot be told."""
    with av.open(path) as container:
        if not container.streams.video:
            raise NotMedia(f"{path}: no moving pictures")
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        if not rate:
            raise DecodeError(f"{path}: does not say how many frames it has a second")
        return float(rate)


def read_duration(path: str) -> float:
    """Seconds, as the container says; 0.0 where it does not."""
    with av.open(path) as container:
        return (container.duration or 0) / av.time_base
