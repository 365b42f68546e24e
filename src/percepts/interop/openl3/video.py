"""Read the frame rate and the duration of a video."""

from __future__ import annotations

import av

from ...errors import DecodeError, NotMedia


def read_frame_rate(path: str) -> float:
    """Return the average frame rate.

    Raises:
        NotMedia: the file has no video stream.
        DecodeError: the file does not say its frame rate.
    """
    with av.open(path) as container:
        if not container.streams.video:
            raise NotMedia(f"{path}: no video stream")
        stream = container.streams.video[0]
        # The first is measured over the stream; the others are FFmpeg's guesses from its header.
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        if not rate:
            raise DecodeError(f"{path}: does not say its frame rate")
        return float(rate)


def read_duration(path: str) -> float:
    """Return the duration in seconds that the container states; 0.0 where it states none."""
    with av.open(path) as container:
        return (container.duration or 0) / av.time_base  # FFmpeg counts in microseconds
