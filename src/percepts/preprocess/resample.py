"""Resample a stream of audio block by block, on the same clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import soxr

from ..types import Clip
from ..windows.contiguous import TolerateTruncation, check_contiguous

QUALITY = "HQ"  # soxr's 20-bit recipe, what librosa and most training pipelines use


def resample(blocks: Iterable[Clip], rate: float) -> Iterator[Clip]:
    """Resample a stream of audio blocks to `rate` Hz with soxr HQ. Channels are kept.

    The filter's delay is removed: sample k of the output stands at `first.start + k / rate`. All blocks together have
    max(1, round(N * rate / old)) samples, and the same bits however the stream was cut. Blocks of the output have other
    lengths than those of the input. If the rate is right already, blocks pass untouched and unchecked. Padding inside a
    block (`valid`) is left out. Memory is one block and the filter.

    A source that breaks off with TruncatedMedia is resampled up to its last good sample before the error is passed on.

    Raises ValueError for a rate that is not above zero, for clips that are not audio, and for blocks that do not follow
    one another.

    >>> second = Clip(np.zeros((1, 44_100), np.float32), "audio", 44_100)
    >>> sum(clip.length for clip in resample([second], 16_000))
    16000
    """
    if not 0 < rate < math.inf:
        raise ValueError(f"expected a rate in Hz above 0, got {rate = }")
    return _resample_blocks(blocks, rate)


def resample_clip(clip: Clip, rate: float) -> Clip:
    """Resample a single clip; see `resample`. A clip without samples stays without.

    >>> resample_clip(Clip(np.zeros((2, 48_000), np.float32), "audio", 48_000, start=3.0), 16_000)
    Clip(data=float32[2, 16000], kind='audio', rate=16000, start=3.0)
    """
    if clip.rate == rate and clip.kind == "audio":
        return clip
    parts = [part.data for part in resample([clip], rate)]
    data = np.concatenate(parts, axis=1) if parts else np.zeros((clip.data.shape[0], 0), np.float32)
    return Clip(data, "audio", rate, clip.start, clip.source)


def _resample_blocks(blocks: Iterable[Clip], rate: float) -> Iterator[Clip]:
    """Pass blocks through that have the rate already, resample all others."""
    source = TolerateTruncation(blocks)
    head = next(source, None)
    if head is not None and head.kind != "audio":
        raise ValueError(f"expected audio, got {head}")
    if head is not None and head.rate == rate:
        yield head
        yield from source
    elif head is not None:
        yield from _stretch_blocks(check_contiguous(chain([head], source)), head, rate)
    source.release()


def _stretch_blocks(blocks: Iterator[Clip], first: Clip, rate: float) -> Iterator[Clip]:
    """Feed the blocks to soxr, and yield its output as clips with their times."""
    engine = soxr.ResampleStream(first.rate, rate, first.data.shape[0], dtype="float32", quality=QUALITY)
    taken = given = 0  # samples in and out, from which times are computed

    def make_clips(out: np.ndarray) -> Iterator[Clip]:
        nonlocal given
        if len(out):
            data = np.ascontiguousarray(out.T)  # (C, N)
            yield Clip(data, "audio", rate, first.start + given / rate, first.source)
            given += len(out)

    for block in blocks:
        taken += block.length
        yield from make_clips(engine.resample_chunk(np.ascontiguousarray(block.data.T)))  # (N, C), as soxr has it
    yield from make_clips(_flush_filter(engine, first, taken, rate))


def _flush_filter(engine: soxr.ResampleStream, first: Clip, taken: int, rate: float) -> np.ndarray:
    """Return (N, C) samples left in the filter; one sample where the audio was too short for any."""
    channels = first.data.shape[0]
    if taken == 0 or taken * rate / first.rate > 0.5:  # rounds to one sample or more
        rest: np.ndarray = engine.resample_chunk(np.zeros((0, channels), np.float32), last=True)
        return rest
    # Enough silence for one output sample, which is all that is kept.
    silence = np.zeros((math.ceil(first.rate / rate), channels), np.float32)
    longer: np.ndarray = engine.resample_chunk(silence, last=True)
    return longer[:1]
