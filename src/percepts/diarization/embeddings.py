"""Sound to stretches of speech and the voice of each piece of them; memory is a block, not the recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..speech.audio_source import RATE
from ..types import Clip, Encoder, Segment
from .clustering import (
    SimilarityThresholds,
    SpeakerCount,
    cluster_by_linkage,
    cluster_speakers,
    mean_directions,
    merge_small_clusters,
    number_by_first_appearance,
)

WINDOW, HOP = round(1.6 * RATE), round(0.4 * RATE)
WINDOWS_PER_BATCH = 64  # windows through the network at once
WINDOWS_PER_BLOCK = 1500  # windows that are told apart at once: ten minutes of speech
MAX_VOICES_PER_BLOCK = 16  # voices of a block that are kept for the comparison between blocks
MIN_PIECE_S = 0.5  # seconds; a shorter piece of speech follows the others and has no say
MIN_WEIGHT_S = 0.1  # seconds a window stands for, from which on it has a say


@dataclass(frozen=True, slots=True, eq=False)
class DiarizerOutput:
    """What a diarizer finds in a stream: seconds of speech, turns, and the vectors of voices by name."""

    speech: float
    turns: tuple[Segment, ...]
    speakers: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class SpeechRegion:
    """A stretch of speech: its first sample, the one after the last, and the (n, 2) places of its windows."""

    start: int
    stop: int
    windows: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedBlock:
    """The windows of some regions: (n, D) vectors of length one, and the (n,) seconds that each stands for."""

    regions: tuple[SpeechRegion, ...]
    vectors: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class ClusteredVoices:
    """All regions, the (n,) voices of all their windows, and the (k, D) directions of the voices."""

    regions: tuple[SpeechRegion, ...]
    labels: np.ndarray
    centres: np.ndarray


def cut_voice_windows(region: Clip) -> Iterator[tuple[int, int, np.ndarray]]:
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


def embed_speech(speech: Iterable[Clip], encoder: Encoder) -> Iterator[EmbeddedBlock]:
    """Stretches of speech, mono at 16 kHz, to blocks of windows with their vectors."""
    regions: list[SpeechRegion] = []
    vectors: list[np.ndarray] = []
    pending: list[np.ndarray] = []
    count = 0
    for clip in speech:
        cut = list(cut_voice_windows(clip))
        places = np.array([(start, stop) for start, stop, _ in cut], np.int64)
        start = round(clip.start * RATE)
        regions.append(SpeechRegion(start, start + clip.length, places))
        pending += [samples for *_, samples in cut]
        count += len(cut)
        while len(pending) >= WINDOWS_PER_BATCH:
            vectors.append(_embed_windows(encoder, pending[:WINDOWS_PER_BATCH]))
            del pending[:WINDOWS_PER_BATCH]
        if count >= WINDOWS_PER_BLOCK:
            yield _make_block(regions, [*vectors, *_embed_rest(encoder, pending)])
            regions, vectors, pending, count = [], [], [], 0
    if count:
        yield _make_block(regions, [*vectors, *_embed_rest(encoder, pending)])


def _embed_rest(encoder: Encoder, pending: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    if pending:
        yield _embed_windows(encoder, pending)


def _embed_windows(encoder: Encoder, samples: Sequence[np.ndarray]) -> np.ndarray:
    clips = [Clip(window[None], "audio", float(RATE)) for window in samples]
    found: np.ndarray = encoder.encode(encoder.prepare(clips)).data[:, 0]
    return found


def collect_block(speech: Iterable[Clip], encoder: Encoder) -> EmbeddedBlock:
    """Some stretches of speech, at least one, as one block."""
    found = list(embed_speech(speech, encoder))
    return EmbeddedBlock(
        tuple(region for block in found for region in block.regions),
        np.concatenate([block.vectors for block in found]),
        np.concatenate([block.weights for block in found]),
    )


def _make_block(regions: Sequence[SpeechRegion], vectors: Sequence[np.ndarray]) -> EmbeddedBlock:
    lengths = np.concatenate([region.windows[:, 1] - region.windows[:, 0] for region in regions]) / RATE
    weights = np.where(lengths < MIN_PIECE_S, 1e-3, np.minimum(lengths, HOP / RATE))
    return EmbeddedBlock(tuple(regions), np.concatenate(vectors), weights)


def cluster_blocks(
    found: Iterable[EmbeddedBlock], likeness: SimilarityThresholds, count: SpeakerCount
) -> ClusteredVoices:
    """Which windows are the same voice.

    One block is clustered as it is. Of several, each is clustered by itself and keeps the means of its voices alone,
    which are then linked: memory is one block, and time grows with the length.
    """
    stream = iter(found)
    begun = list(islice(stream, 2))
    if not begun:
        return ClusteredVoices((), np.zeros(0, np.int64), np.zeros((0, 0)))
    if len(begun) == 1:
        labels = _cluster_block(begun[0], likeness, count)
        return ClusteredVoices(begun[0].regions, labels, mean_directions(begun[0].vectors, begun[0].weights, labels))
    most = SpeakerCount(1, min(MAX_VOICES_PER_BLOCK, count.most))
    sums = [_summarise_block(begun.pop(0), likeness, most) for _ in range(2)]  # nobody else may hold on to a block
    sums += (_summarise_block(block, likeness, most) for block in stream)
    return _link_blocks(sums, likeness, count)


def _cluster_block(block: EmbeddedBlock, likeness: SimilarityThresholds, count: SpeakerCount) -> np.ndarray:
    """The voice of each window of a block; weak windows go to the nearest voice."""
    solid = block.weights >= MIN_WEIGHT_S
    if not solid.any():
        solid = ~solid
    vectors, weights = block.vectors[solid], block.weights[solid]
    found = cluster_speakers(vectors, weights, likeness, count, small=min_cluster_seconds(float(weights.sum())))
    labels: np.ndarray = (block.vectors @ mean_directions(vectors, weights, found).T).argmax(axis=1)
    labels[solid] = found
    return labels


def min_cluster_seconds(seconds: float) -> float:
    """Seconds of speech below which a voice is taken for a slip: 3, and in short recordings a tenth of it."""
    return min(max(3.0, 0.02 * seconds), 0.1 * seconds)


@dataclass(frozen=True, slots=True, eq=False)
class _BlockSummary:
    """A block without its vectors: of each window its voice, of each voice its mean and its seconds."""

    regions: tuple[SpeechRegion, ...]
    labels: np.ndarray
    centres: np.ndarray
    seconds: np.ndarray


def _summarise_block(block: EmbeddedBlock, likeness: SimilarityThresholds, count: SpeakerCount) -> _BlockSummary:
    labels = number_by_first_appearance(_cluster_block(block, likeness, count))
    centres = mean_directions(block.vectors, block.weights, labels)
    return _BlockSummary(block.regions, labels, centres, np.bincount(labels, block.weights))


def _link_blocks(sums: Sequence[_BlockSummary], likeness: SimilarityThresholds, count: SpeakerCount) -> ClusteredVoices:
    """The voices of all blocks told apart by their means: average linkage, each by its seconds."""
    vectors = np.concatenate([part.centres for part in sums])
    seconds = np.concatenate([part.seconds for part in sums])
    least = min(count.least, len(vectors))
    voices = cluster_by_linkage(vectors, seconds, apart=1 - likeness.same, least=least, most=count.most)
    voices = merge_small_clusters(
        vectors, seconds, voices, likeness.same, least, small=min_cluster_seconds(float(seconds.sum()))
    )
    offsets = np.cumsum([0, *(len(part.centres) for part in sums[:-1])])
    labels = np.concatenate([voices[part.labels + at] for part, at in zip(sums, offsets, strict=True)])
    regions = tuple(region for part in sums for region in part.regions)
    return ClusteredVoices(regions, labels, mean_directions(vectors, seconds, voices))
