"""Sound to stretches of speech and the voice of each piece of them; memory is a block, not the recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..timeline.clusters import Count, Likeness, cluster, in_order_heard, linkage, means, tidy
from ..types import Clip, Encoder, Segment
from ._recording import RATE

WINDOW, HOP = round(1.6 * RATE), round(0.4 * RATE)
BATCH = 64  # windows through the network at once
BLOCK = 1500  # windows that are told apart at once: ten minutes of speech
GROUPS = 16  # voices of a block that are kept for the comparison between blocks
WEAK = 0.5  # seconds; a shorter piece of speech follows the others and has no say
SOLID = 0.1  # seconds a window stands for, from which on it has a say


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a diarizer finds in a stream: seconds of speech, turns, and the vectors of voices by name."""

    speech: float
    turns: tuple[Segment, ...]
    speakers: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of speech: its first sample, the one after the last, and the (n, 2) places of its windows."""

    start: int
    stop: int
    windows: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The windows of some regions: (n, D) vectors of length one, and the (n,) seconds that each stands for."""

    regions: tuple[Region, ...]
    vectors: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Voices:
    """All regions, the (n,) voices of all their windows, and the (k, D) directions of the voices."""

    regions: tuple[Region, ...]
    labels: np.ndarray
    centres: np.ndarray


def windows(region: Clip) -> Iterator[tuple[int, int, np.ndarray]]:
    """First sample, the one after the last, and (25600,) samples, every 0.4 s of a stretch of speech.

    The last one ends with the stretch. One that is shorter than a window is repeated until it fills it: the network
    forgets a voice over the silence that would follow it otherwise.
    """
    at, samples = round(region.start * RATE), region.data[0]
    length = len(samples)
    if length < WINDOW:
        yield at, at + length, np.resize(samples, WINDOW)
        return
    for start in (*range(0, length - WINDOW, HOP), length - WINDOW):
        yield at + start, at + start + WINDOW, samples[start : start + WINDOW]


def blocks(speech: Iterable[Clip], encoder: Encoder) -> Iterator[Block]:
    """Stretches of speech, mono at 16 kHz, to blocks of windows with their vectors."""
    regions: list[Region] = []
    vectors: list[np.ndarray] = []
    pending: list[np.ndarray] = []
    count = 0
    for clip in speech:
        cut = list(windows(clip))
        places = np.array([(start, stop) for start, stop, _ in cut], np.int64)
        start = round(clip.start * RATE)
        regions.append(Region(start, start + clip.length, places))
        pending += [samples for *_, samples in cut]
        count += len(cut)
        while len(pending) >= BATCH:
            vectors.append(_vectors(encoder, pending[:BATCH]))
            del pending[:BATCH]
        if count >= BLOCK:
            yield _block(regions, [*vectors, *_rest(encoder, pending)])
            regions, vectors, pending, count = [], [], [], 0
    if count:
        yield _block(regions, [*vectors, *_rest(encoder, pending)])


def _rest(encoder: Encoder, pending: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    if pending:
        yield _vectors(encoder, pending)


def _vectors(encoder: Encoder, samples: Sequence[np.ndarray]) -> np.ndarray:
    clips = [Clip(window[None], "audio", float(RATE)) for window in samples]
    found: np.ndarray = encoder.encode(encoder.prepare(clips)).data[:, 0]
    return found


def block_of(speech: Iterable[Clip], encoder: Encoder) -> Block:
    """Some stretches of speech, at least one, as one block."""
    found = list(blocks(speech, encoder))
    return Block(
        tuple(region for block in found for region in block.regions),
        np.concatenate([block.vectors for block in found]),
        np.concatenate([block.weights for block in found]),
    )


def _block(regions: Sequence[Region], vectors: Sequence[np.ndarray]) -> Block:
    lengths = np.concatenate([region.windows[:, 1] - region.windows[:, 0] for region in regions]) / RATE
    weights = np.where(lengths < WEAK, 1e-3, np.minimum(lengths, HOP / RATE))
    return Block(tuple(regions), np.concatenate(vectors), weights)


def told_apart(found: Iterable[Block], likeness: Likeness, count: Count) -> Voices:
    """Which windows are the same voice.

    One block is clustered as it is. Of several, each is clustered by itself and keeps the means of its voices alone,
    which are then linked: memory is one block, and time grows with the length.
    """
    stream = iter(found)
    begun = list(islice(stream, 2))
    if not begun:
        return Voices((), np.zeros(0, np.int64), np.zeros((0, 0)))
    if len(begun) == 1:
        labels = _groups(begun[0], likeness, count)
        return Voices(begun[0].regions, labels, means(begun[0].vectors, begun[0].weights, labels))
    most = Count(1, min(GROUPS, count.most))
    sums = [_summed(begun.pop(0), likeness, most) for _ in range(2)]  # nobody else may hold on to a block
    sums += (_summed(block, likeness, most) for block in stream)
    return _linked(sums, likeness, count)


def _groups(block: Block, likeness: Likeness, count: Count) -> np.ndarray:
    """The voice of each window of a block; weak windows go to the nearest voice."""
    solid = block.weights >= SOLID
    if not solid.any():
        solid = ~solid
    vectors, weights = block.vectors[solid], block.weights[solid]
    found = cluster(vectors, weights, likeness, count, small=small_voice(float(weights.sum())))
    labels: np.ndarray = (block.vectors @ means(vectors, weights, found).T).argmax(axis=1)
    labels[solid] = found
    return labels


def small_voice(seconds: float) -> float:
    """Seconds of speech below which a voice is taken for a slip: 3, and in short recordings a tenth of it."""
    return min(max(3.0, 0.02 * seconds), 0.1 * seconds)


@dataclass(frozen=True, slots=True, eq=False)
class _Sum:
    """A block without its vectors: of each window its voice, of each voice its mean and its seconds."""

    regions: tuple[Region, ...]
    labels: np.ndarray
    centres: np.ndarray
    seconds: np.ndarray


def _summed(block: Block, likeness: Likeness, count: Count) -> _Sum:
    labels = in_order_heard(_groups(block, likeness, count))
    centres = means(block.vectors, block.weights, labels)
    return _Sum(block.regions, labels, centres, np.bincount(labels, block.weights))


def _linked(sums: Sequence[_Sum], likeness: Likeness, count: Count) -> Voices:
    """The voices of all blocks told apart by their means: average linkage, each by its seconds."""
    vectors = np.concatenate([part.centres for part in sums])
    seconds = np.concatenate([part.seconds for part in sums])
    least = min(count.least, len(vectors))
    voices = linkage(vectors, seconds, apart=1 - likeness.same, least=least, most=count.most)
    voices = tidy(vectors, seconds, voices, likeness.same, least, small=small_voice(float(seconds.sum())))
    offsets = np.cumsum([0, *(len(part.centres) for part in sums[:-1])])
    labels = np.concatenate([voices[part.labels + at] for part, at in zip(sums, offsets, strict=True)])
    regions = tuple(region for part in sums for region in part.regions)
    return Voices(regions, labels, means(vectors, seconds, voices))
