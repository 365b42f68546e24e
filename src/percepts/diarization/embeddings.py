"""Compute voice embeddings of the windows of speech in a stream, and cluster them; memory is a block, not the file."""

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
WINDOWS_PER_BATCH = 64  # windows that are embedded at once
WINDOWS_PER_BLOCK = 1500  # windows that are clustered at once: ten minutes of speech
MAX_VOICES_PER_BLOCK = 16  # voices of one block that take part in linking the blocks
MIN_PIECE_S = 0.5  # seconds; shorter speech joins the nearest voice and does not shape the clusters
MIN_WEIGHT_S = 0.1  # seconds that a window must stand for to shape the clusters


@dataclass(frozen=True, slots=True, eq=False)
class DiarizerOutput:
    """The result of diarizing a stream.

    speech    seconds of speech
    turns     who spoke when
    speakers  the voice embedding of each speaker, by name
    """

    speech: float
    turns: tuple[Segment, ...]
    speakers: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class SpeechRegion:
    """A stretch of speech: its first sample, the one after its last, and (n, 2) starts and stops of its windows."""

    start: int
    stop: int
    windows: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedBlock:
    """The windows of some regions: (n, D) unit vectors, and the (n,) seconds that each stands for."""

    regions: tuple[SpeechRegion, ...]
    vectors: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class ClusteredVoices:
    """All regions, the (n,) voices of all their windows, and the (k, D) unit vectors of the voices."""

    regions: tuple[SpeechRegion, ...]
    labels: np.ndarray
    centres: np.ndarray


def cut_voice_windows(region: Clip) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield start and stop in samples, and (25600,) samples, every 0.4 s of a stretch of speech.

    The last window ends with the stretch. A stretch shorter than a window is repeated until it fills it: the network
    would forget the voice over the silence that follows it otherwise.
    """
    at, samples = round(region.start * RATE), region.data[0]
    length = len(samples)
    if length < WINDOW:  # repeated, since the network forgets a voice over the silence of padding
        yield at, at + length, np.resize(samples, WINDOW)
        return
    for start in (*range(0, length - WINDOW, HOP), length - WINDOW):
        yield at + start, at + start + WINDOW, samples[start : start + WINDOW]


def embed_speech(speech: Iterable[Clip], encoder: Encoder) -> Iterator[EmbeddedBlock]:
    """Embed the windows of stretches of speech, mono at 16 kHz; yield them in blocks."""
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
    """Embed the windows that fill no batch, if there are any."""
    if pending:
        yield _embed_windows(encoder, pending)


def _embed_windows(encoder: Encoder, samples: Sequence[np.ndarray]) -> np.ndarray:
    """Return the (n, D) vectors of windows."""
    clips = [Clip(window[None], "audio", float(RATE)) for window in samples]
    vectors: np.ndarray = encoder.encode(encoder.prepare(clips)).data[:, 0]
    return vectors


def collect_block(speech: Iterable[Clip], encoder: Encoder) -> EmbeddedBlock:
    """Embed some stretches of speech, at least one, as a single block."""
    blocks = list(embed_speech(speech, encoder))
    return EmbeddedBlock(
        tuple(region for block in blocks for region in block.regions),
        np.concatenate([block.vectors for block in blocks]),
        np.concatenate([block.weights for block in blocks]),
    )


def _make_block(regions: Sequence[SpeechRegion], vectors: Sequence[np.ndarray]) -> EmbeddedBlock:
    """Build a block, and weigh its windows by the seconds that each adds."""
    lengths = np.concatenate([region.windows[:, 1] - region.windows[:, 0] for region in regions]) / RATE
    # Windows overlap by three quarters, so each adds a hop. 1e-3 and not 0: a mean needs some weight.
    weights = np.where(lengths < MIN_PIECE_S, 1e-3, np.minimum(lengths, HOP / RATE))
    return EmbeddedBlock(tuple(regions), np.concatenate(vectors), weights)


def cluster_blocks(
    blocks: Iterable[EmbeddedBlock], thresholds: SimilarityThresholds, count: SpeakerCount
) -> ClusteredVoices:
    """Cluster the windows of all blocks by voice.

    A single block is clustered as it is. Of several, each is clustered by itself and keeps only the means of its
    voices, which are then linked: memory is one block, and time grows with the length.
    """
    stream = iter(blocks)
    first = list(islice(stream, 2))
    if not first:
        return ClusteredVoices((), np.zeros(0, np.int64), np.zeros((0, 0)))
    if len(first) == 1:
        labels = _cluster_block(first[0], thresholds, count)
        return ClusteredVoices(first[0].regions, labels, mean_directions(first[0].vectors, first[0].weights, labels))
    most = SpeakerCount(1, min(MAX_VOICES_PER_BLOCK, count.most))
    # Popped, so that no name keeps a block in memory while the next one is read.
    sums = [_summarise_block(first.pop(0), thresholds, most) for _ in range(2)]
    sums += (_summarise_block(block, thresholds, most) for block in stream)
    return _link_blocks(sums, thresholds, count)


def _cluster_block(block: EmbeddedBlock, thresholds: SimilarityThresholds, count: SpeakerCount) -> np.ndarray:
    """Return the voice of each window of a block; windows of little weight join the nearest voice."""
    solid = block.weights >= MIN_WEIGHT_S
    if not solid.any():
        solid = ~solid  # nothing but short speech: all of it counts
    vectors, weights = block.vectors[solid], block.weights[solid]
    solid_labels = cluster_speakers(
        vectors, weights, thresholds, count, small=min_cluster_seconds(float(weights.sum()))
    )
    labels: np.ndarray = (block.vectors @ mean_directions(vectors, weights, solid_labels).T).argmax(axis=1)
    labels[solid] = solid_labels
    return labels


def min_cluster_seconds(seconds: float) -> float:
    """Return the seconds of speech below which a voice counts as an error: 3, and in short audio a tenth of all."""
    return min(max(3.0, 0.02 * seconds), 0.1 * seconds)


@dataclass(frozen=True, slots=True, eq=False)
class _BlockSummary:
    """A block without its vectors: the voice of each window, and mean and seconds of each voice."""

    regions: tuple[SpeechRegion, ...]
    labels: np.ndarray
    centres: np.ndarray
    seconds: np.ndarray


def _summarise_block(block: EmbeddedBlock, thresholds: SimilarityThresholds, count: SpeakerCount) -> _BlockSummary:
    """Cluster a block, and keep of its vectors only the means of the voices."""
    labels = number_by_first_appearance(_cluster_block(block, thresholds, count))
    centres = mean_directions(block.vectors, block.weights, labels)
    return _BlockSummary(block.regions, labels, centres, np.bincount(labels, block.weights))


def _link_blocks(
    sums: Sequence[_BlockSummary], thresholds: SimilarityThresholds, count: SpeakerCount
) -> ClusteredVoices:
    """Cluster the voices of all blocks by their means: average linkage, each weighted by its seconds."""
    vectors = np.concatenate([part.centres for part in sums])
    seconds = np.concatenate([part.seconds for part in sums])
    least = min(count.least, len(vectors))
    voices = cluster_by_linkage(vectors, seconds, apart=1 - thresholds.same, least=least, most=count.most)
    voices = merge_small_clusters(
        vectors, seconds, voices, thresholds.same, least, small=min_cluster_seconds(float(seconds.sum()))
    )
    offsets = np.cumsum([0, *(len(part.centres) for part in sums[:-1])])
    labels = np.concatenate([voices[part.labels + at] for part, at in zip(sums, offsets, strict=True)])
    regions = tuple(region for part in sums for region in part.regions)
    return ClusteredVoices(regions, labels, mean_directions(vectors, seconds, voices))
