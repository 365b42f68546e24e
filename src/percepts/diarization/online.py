"""Tell who speaks in a live stream, a few seconds later and without changing earlier answers.

After every few seconds of new speech all voices so far are clustered again, as `percepts.diarize` does it, and each
cluster gets the name that most of its windows had before. Of the past a bounded number of windows is kept, spread over
all of it.
"""

from __future__ import annotations

import numpy as np

from ..support.hungarian import max_weight_matching
from ..types import Clip, Encoder
from .clustering import FLOOR, SimilarityThresholds, SpeakerCount, cluster_speakers, mean_directions
from .embeddings import MIN_WEIGHT_S, SpeechRegion, collect_block, min_cluster_seconds

MIN_FIRST_WINDOWS = 3 * FLOOR
"""Windows (12 s of speech) before the first answer: with fewer the number of voices is a guess."""
UPDATE_EVERY = 10
"""Windows (4 s of speech) from one answer to the next."""
MAX_PAST_WINDOWS = 128
"""Windows of the past that are kept, at most twice as many; the time of a step grows with the cube of them."""

LabelledRegion = tuple[SpeechRegion, np.ndarray]
"""A stretch of speech and the speaker's number for each of its windows."""


class OnlineDiarizer:
    """A diarizer of one stream: push its stretches of speech in order, then `finish`; both return labelled regions."""

    def __init__(self, encoder: Encoder, thresholds: SimilarityThresholds, count: SpeakerCount) -> None:
        self._encoder, self._thresholds, self._count = encoder, thresholds, count
        self._pending: list[Clip] = []
        self._pending_windows = 0.0  # an estimate: they are cut later
        self._vectors = np.zeros((0, encoder.spec.dim), np.float32)
        self._weights = np.zeros(0)
        self._speakers = np.zeros(0, np.int64)  # of the windows kept, as they were returned
        self._speaker_count = 0

    def push(self, stretch: Clip) -> list[LabelledRegion]:
        """Take in the next stretch of speech, mono at 16 kHz; return what has become certain."""
        self._pending.append(stretch)
        self._pending_windows += max(1.0, (stretch.duration - 1.6) / 0.4 + 1)
        return (
            self._label_pending()
            if self._pending_windows >= (UPDATE_EVERY if len(self._speakers) else MIN_FIRST_WINDOWS)
            else []
        )

    def finish(self) -> list[LabelledRegion]:
        """Return the rest at the end of the stream."""
        return self._label_pending() if self._pending else []

    def _label_pending(self) -> list[LabelledRegion]:
        """Embed and label the stretches that wait."""
        block = collect_block(self._pending, self._encoder)
        self._pending, self._pending_windows = [], 0.0
        vectors = np.concatenate([self._vectors, block.vectors])
        weights = np.concatenate([self._weights, block.weights])
        groups = self._cluster_windows(vectors, weights)
        speakers = self._match_speakers(vectors, weights, groups)[len(self._speakers) :]
        self._keep_sample(vectors, weights, np.concatenate([self._speakers, speakers]))
        ends = np.cumsum([len(region.windows) for region in block.regions])[:-1]
        return list(zip(block.regions, np.split(speakers, ends), strict=True))

    def _cluster_windows(self, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the cluster of each window; windows of little weight join the nearest one."""
        solid = weights >= MIN_WEIGHT_S
        solid = solid if solid.any() else ~solid
        solid_vectors, mass = vectors[solid], weights[solid]
        labels = cluster_speakers(
            solid_vectors, mass, self._thresholds, self._count, small=min_cluster_seconds(float(mass.sum()))
        )
        groups: np.ndarray = (vectors @ mean_directions(solid_vectors, mass, labels).T).argmax(axis=1)
        groups[solid] = labels
        return groups

    def _match_speakers(self, vectors: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Return the speaker of each window: the one most of its cluster had before, else a new one."""
        past = len(self._speakers)
        shared = np.zeros((int(groups.max()) + 1, max(self._speaker_count, 1)))
        np.add.at(shared, (groups[:past], self._speakers), weights[:past])
        names = {group: speaker for group, speaker in max_weight_matching(shared) if shared[group, speaker] > 0}
        for group in dict.fromkeys(groups[past:].tolist()):
            if group not in names:
                names[group] = self._add_speaker(shared[group])
        result: np.ndarray = np.array([names.get(group, 0) for group in groups.tolist()])
        return result

    def _add_speaker(self, shared: np.ndarray) -> int:
        """Return a number for a cluster without a speaker: a new voice, or one that was part of another so far."""
        if self._speaker_count >= self._count.most:
            return int(shared.argmax())
        self._speaker_count += 1
        return self._speaker_count - 1

    def _keep_sample(self, vectors: np.ndarray, weights: np.ndarray, speakers: np.ndarray) -> None:
        """Keep every second window, until few enough are left."""
        while len(vectors) > 2 * MAX_PAST_WINDOWS:
            vectors, weights, speakers = vectors[::2], weights[::2], speakers[::2]
        self._vectors, self._weights, self._speakers = vectors, weights, speakers
