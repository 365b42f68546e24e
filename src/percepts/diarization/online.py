"""Speech as it comes in, turns out a few seconds later: who speaks is told while it goes on, and not taken back.

Every few seconds of new speech all voices heard so far are told apart anew, as `percepts.diarize` does it, and the
groups are called what most of their windows were called before. What is kept of the past is thinned out to a bounded
number of windows spread over all of it.
"""

from __future__ import annotations

import numpy as np

from ..support.hungarian import max_weight_matching
from ..types import Clip, Encoder
from .clustering import FLOOR, SimilarityThresholds, SpeakerCount, cluster_speakers, mean_directions
from .embeddings import MIN_WEIGHT_S, SpeechRegion, collect_block, min_cluster_seconds

MIN_FIRST_WINDOWS = 3 * FLOOR
"""Windows, 12 s of speech, before which the number of voices is a guess: nothing is told."""
UPDATE_EVERY = 10
"""Windows, 4 s of speech, after which what came since is told."""
MAX_PAST_WINDOWS = 128
"""Windows of the past, at most twice as many; the time of a step grows with the cube of it."""

LabelledRegion = tuple[SpeechRegion, np.ndarray]
"""A stretch of speech and the number of the speaker of each of its windows."""


class OnlineDiarizer:
    """One stream: push its stretches of speech in order, get those that are certain; `finish` gives the rest."""

    def __init__(self, encoder: Encoder, likeness: SimilarityThresholds, count: SpeakerCount) -> None:
        self._encoder, self._thresholds, self._count = encoder, likeness, count
        self._pending: list[Clip] = []
        self._pending_windows = 0.0  # windows
        self._vectors = np.zeros((0, encoder.spec.dim), np.float32)
        self._weights = np.zeros(0)
        self._speakers = np.zeros(0, np.int64)  # of the windows kept, as they were told
        self._speaker_count = 0

    def push(self, stretch: Clip) -> list[LabelledRegion]:
        """The next stretch of speech, mono at 16 kHz."""
        self._pending.append(stretch)
        self._pending_windows += max(1.0, (stretch.duration - 1.6) / 0.4 + 1)
        return (
            self._label_pending()
            if self._pending_windows >= (UPDATE_EVERY if len(self._speakers) else MIN_FIRST_WINDOWS)
            else []
        )

    def finish(self) -> list[LabelledRegion]:
        """No more comes."""
        return self._label_pending() if self._pending else []

    def _label_pending(self) -> list[LabelledRegion]:
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
        solid = weights >= MIN_WEIGHT_S
        solid = solid if solid.any() else ~solid
        some, mass = vectors[solid], weights[solid]
        found = cluster_speakers(
            some, mass, self._thresholds, self._count, small=min_cluster_seconds(float(mass.sum()))
        )
        groups: np.ndarray = (vectors @ mean_directions(some, mass, found).T).argmax(axis=1)
        groups[solid] = found
        return groups

    def _match_speakers(self, vectors: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """The speaker of each window: that of most of its group, by what was told before; else a new one."""
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
        """A group that no speaker is left for: somebody new, or two who were taken for one until now."""
        if self._speaker_count >= self._count.most:
            return int(shared.argmax())
        self._speaker_count += 1
        return self._speaker_count - 1

    def _keep_sample(self, vectors: np.ndarray, weights: np.ndarray, speakers: np.ndarray) -> None:
        while len(vectors) > 2 * MAX_PAST_WINDOWS:
            vectors, weights, speakers = vectors[::2], weights[::2], speakers[::2]
        self._vectors, self._weights, self._speakers = vectors, weights, speakers
