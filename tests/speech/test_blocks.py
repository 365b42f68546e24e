"""Blocks of a stream: what is refused, and what joining them keeps."""

from __future__ import annotations

import numpy as np
import pytest

from percepts.speech.blocks import check_mono, check_next, join_blocks
from percepts.types import Clip


def clip(samples: int = 100, start: float = 0.0, *, rate: float = 1000.0, channels: int = 1) -> Clip:
    data = np.arange(channels * samples, dtype=np.float32).reshape(channels, samples)
    return Clip(data, "audio", rate, start, "talk.wav")


def test_audio_of_one_channel_at_the_rate_passes_and_other_clips_are_refused_with_what_they_are() -> None:
    check_mono(clip())
    check_mono(clip(), 1000)
    with pytest.raises(ValueError, match="one channel at 16000 Hz, got Clip"):
        check_mono(clip(), 16000)
    with pytest.raises(ValueError, match="one channel, got Clip"):
        check_mono(clip(channels=2))
    with pytest.raises(ValueError, match="one channel, got Clip"):
        check_mono(Clip(np.zeros((1, 4, 4, 3), np.uint8), "video", 25.0))


@pytest.mark.parametrize(
    ("start", "fits"), [(0.1, True), (0.1004, True), (0.0996, True), (0.1006, False), (0.0, False)]
)
def test_a_block_follows_within_half_a_sample(start: float, fits: bool) -> None:
    if fits:
        check_next(clip(start=start), due=0.1, rate=1000.0)
        return
    with pytest.raises(ValueError, match=r"next block at 0\.100000 s and 1000 Hz"):
        check_next(clip(start=start), due=0.1, rate=1000.0)


def test_a_block_of_another_rate_does_not_follow() -> None:
    with pytest.raises(ValueError, match="and 8000 Hz"):
        check_next(clip(start=0.1), due=0.1, rate=8000.0)


def test_joining_keeps_samples_time_and_source_and_copies_no_single_block() -> None:
    whole = clip(90, start=2.0)
    parts = [Clip(whole.data[:, a : a + 30], "audio", 1000.0, 2.0 + a / 1000, "talk.wav") for a in (0, 30, 60)]
    joined = join_blocks(parts)
    assert np.array_equal(joined.data, whole.data)
    assert (joined.start, joined.rate, joined.source) == (2.0, 1000.0, "talk.wav")
    assert join_blocks([whole]) is whole
    with pytest.raises(ValueError, match="one block or more"):
        join_blocks([])
