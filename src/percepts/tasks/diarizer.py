"""Find who speaks when: detect speech, embed the voice every 0.4 s, cluster the voices, and cut turns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from ..diarization.clustering import SimilarityThresholds, SpeakerCount
from ..diarization.embeddings import ClusteredVoices, DiarizerOutput, SpeechRegion, cluster_blocks, embed_speech
from ..diarization.online import LabelledRegion, OnlineDiarizer
from ..encoders import load_encoder
from ..encoders.builtin.silero import Silero
from ..encoders.hub.int8_check import canary_clip
from ..encoders.pooling import encode_vectors
from ..errors import JobError, NotMedia
from ..media import Source
from ..runtimes import defer_choice
from ..speech.audio_source import RATE, AudioSource, make_noise
from ..support.files import hash_file
from ..support.hungarian import max_weight_matching
from ..timeline.speakers import merge_turns
from ..types import Clip, Encoder, Segment, Spec
from ..windows.speech import Detector, Energy, SpeechRules, cut_speech
from .base import RecordFields
from .settings import SPEAKERS_SETTING, setting, to_settings

Vad = Literal["silero", "energy"]
_DETECTORS: Mapping[str, Callable[[], Detector]] = {"silero": Silero, "energy": Energy}

SPEAKER_MODEL = "ge2e"
THRESHOLDS: Mapping[str, SimilarityThresholds] = {"ge2e": SimilarityThresholds(apart=0.30, alike=0.80, same=0.88)}
"""By encoder; a new speaker encoder is a row here. ge2e's numbers come from the voices named in docs/diarize.md."""
KNOWN_VOICE_COSINE = 0.85  # cosine from which on a voice in the recording is one that was enrolled

SPEECH_RULES = SpeechRules(min_silence=0.1, pad=0.03, max_speech=30.0)
VOTE_STEP = RATE // 20  # samples to a vote
SMOOTHING_VOTES = 5  # votes of which the middle one decides
MIN_TURN_S = 0.25  # a turn inside speech that is shorter belongs to its neighbour
MAX_GAP_S = 0.5  # silence that one speaker may leave inside a turn


class SpeakerKeywords(TypedDict, total=False):
    """How many speakers there are: the number, or bounds (1 to 20 by default) where it is not known."""

    speakers: int | None
    min_speakers: int
    max_speakers: int


def make_speaker_count(speakers: int | None = None, min_speakers: int = 1, max_speakers: int = 20) -> SpeakerCount:
    """Return how many speakers there may be; ValueError for impossible numbers."""
    return SpeakerCount(min_speakers, max_speakers) if speakers is None else SpeakerCount(speakers, speakers)


def make_detector(vad: str) -> Detector:
    """Return the voice detector of that name; ValueError for none."""
    if vad not in _DETECTORS:
        raise ValueError(f"expected a voice detector of {', '.join(_DETECTORS)}, got {vad!r}")
    return _DETECTORS[vad]()


def _digest_voices(voices: Mapping[str, Source | np.ndarray]) -> dict[str, str]:
    return {name: _digest_voice(voice) for name, voice in voices.items()}


def _digest_voice(voice: Source | np.ndarray) -> str:
    if isinstance(voice, np.ndarray):
        # One digest for one voice, whatever float type and memory layout it came in.
        return hashlib.sha256(np.ascontiguousarray(voice, np.float32).tobytes()).hexdigest()
    if isinstance(voice, bytes):
        return hashlib.sha256(voice).hexdigest()
    return hash_file(Path(voice))


def _restore_voices(stored: Mapping[str, str], specs: Sequence[Spec]) -> Mapping[str, Source | np.ndarray]:
    if stored:
        raise JobError(f"the recordings of the known voices ({', '.join(stored)}) are not kept in a job directory")
    return {}


@dataclass(frozen=True, eq=False)
class Diarizer:
    """How many speakers there may be, the known voices, and the detector of speech; weights load at the first use."""

    count: SpeakerCount = field(default_factory=SpeakerCount, metadata=SPEAKERS_SETTING)
    voices: Mapping[str, Source | np.ndarray] = field(
        default_factory=dict, metadata=setting("voices", _digest_voices, _restore_voices)
    )
    vad: Vad = "silero"

    name = SPEAKER_MODEL

    def __post_init__(self) -> None:
        make_detector(self.vad)

    def settings(self) -> dict[str, Any]:
        """Return everything that changes a result, as JSON; a known voice by the digest of what it is known by."""
        return {"backend": SPEAKER_MODEL, **to_settings(self)}

    def rehearsals(self) -> Mapping[str, Callable[[], Iterable[RecordFields]]]:
        """Return what runs the detector and the encoder on made-up audio."""
        return {SPEAKER_MODEL: self._rehearse}

    def _rehearse(self) -> Iterable[RecordFields]:
        encoder = load_encoder(SPEAKER_MODEL)
        with defer_choice():
            for _ in cut_speech(make_detector(self.vad), SPEECH_RULES)([make_noise()]):
                pass
            vectors = encode_vectors(encoder, encoder.prepare([canary_clip(encoder.spec)]))
        return [{"vector": vector} for vector in vectors]

    def diarize(self, audio: Iterable[Clip]) -> DiarizerOutput:
        """Return who speaks when in blocks of one stream, mono at 16 kHz."""
        encoder, detector = load_encoder(SPEAKER_MODEL), make_detector(self.vad)
        # Before the audio is read: a recording without speech is refused at once.
        known = {name: _embed_known_voice(name, voice, encoder, detector) for name, voice in self.voices.items()}
        speech = cut_speech(detector, SPEECH_RULES)(audio)
        voices = cluster_blocks(embed_speech(speech, encoder), THRESHOLDS[SPEAKER_MODEL], self.count)
        names = _name_voices(voices.centres, known)
        turns = merge_turns(_iter_turns(voices, names), MAX_GAP_S)
        speakers = {turn.speaker for turn in turns}
        vectors = {name: centre.astype(np.float32) for name, centre in zip(names, voices.centres, strict=True)}
        return DiarizerOutput(
            sum(region.stop - region.start for region in voices.regions) / RATE,
            tuple(turns),
            # A cluster may lose all its windows to its neighbours when turns are smoothed: it is no speaker then.
            {name: vector for name, vector in vectors.items() if name in speakers},
        )

    def diarize_stream(self, audio: Iterable[Clip]) -> Iterator[Segment]:
        """Yield turns of blocks of one stream, mono at 16 kHz, as they are certain; known voices are not looked for."""
        online = OnlineDiarizer(load_encoder(SPEAKER_MODEL), THRESHOLDS[SPEAKER_MODEL], self.count)
        for stretch in cut_speech(make_detector(self.vad), SPEECH_RULES)(audio):
            yield from _make_turns(online.push(stretch))
        yield from _make_turns(online.finish())


def _make_turns(regions: Sequence[LabelledRegion]) -> list[Segment]:
    return merge_turns(
        (
            Segment(start / RATE, stop / RATE, "", speaker=f"SPEAKER_{voice:02}")
            for region, labels in regions
            for start, stop, voice in turns_from_votes(region, labels)
        ),
        MAX_GAP_S,
    )


# Voices to names


def _embed_known_voice(name: str, voice: Source | np.ndarray, encoder: Encoder, detector: Detector) -> np.ndarray:
    """Return the direction of an enrolled voice, (D,)."""
    if isinstance(voice, np.ndarray):
        if voice.shape != (encoder.spec.dim,) or not np.linalg.norm(voice) > 0:
            raise ValueError(f"{name}: expected a vector of {encoder.spec.dim} numbers, got shape {voice.shape}")
        return _unit(voice)
    total = np.zeros(encoder.spec.dim)
    for block in embed_speech(cut_speech(detector, SPEECH_RULES)(AudioSource(voice).blocks()), encoder):
        total += block.weights @ block.vectors
    if not total.any():
        raise NotMedia(f"{name}: no speech in the recording of this voice; give one of five seconds or more")
    return _unit(total)


def _unit(vector: np.ndarray) -> np.ndarray:
    result: np.ndarray = vector / np.linalg.norm(vector)
    return result


def _name_voices(centres: np.ndarray, known: Mapping[str, np.ndarray]) -> list[str]:
    """Return the name of each voice: that of the enrolled voice it is most like, or its number."""
    named: dict[int, str] = {}
    if known and len(centres):
        cosines = centres @ np.stack(list(known.values())).T
        # What is below the bar has no value to the assignment, or two weak likenesses could outbid a strong one.
        pairs = max_weight_matching(np.where(cosines >= KNOWN_VOICE_COSINE, cosines, 0.0))
        named = {voice: list(known)[column] for voice, column in pairs if cosines[voice, column] >= KNOWN_VOICE_COSINE}
    # A known voice may be called SPEAKER_00, as the voices of an earlier result are.
    free = (name for number in range(len(centres) + len(known)) if (name := f"SPEAKER_{number:02}") not in known)
    return [named.get(voice) or next(free) for voice in range(len(centres))]


# Votes to turns


def _iter_turns(voices: ClusteredVoices, names: Sequence[str]) -> Iterator[Segment]:
    """Yield the turns of one region after the other, each cut where the voice changes."""
    at = 0
    for region in voices.regions:
        labels = voices.labels[at : at + len(region.windows)]
        at += len(region.windows)
        for start, stop, voice in turns_from_votes(region, labels):
            yield Segment(start / RATE, stop / RATE, "", speaker=names[voice])


def turns_from_votes(region: SpeechRegion, labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (first sample, the one after the last, voice) of each turn in a region.

    Every window votes for its voice, most in its middle, in each 0.05 s that it covers.
    """
    steps = -(-(region.stop - region.start) // VOTE_STEP)
    middle = np.minimum(region.start + (np.arange(steps) + 0.5) * VOTE_STEP, region.stop - 0.5)  # the last may be short
    votes = np.zeros((steps, int(labels.max()) + 1))
    for (start, stop), voice in zip(region.windows, labels, strict=True):
        half = (stop - start) / 2
        votes[:, voice] += np.clip(1 - np.abs(middle - start - half) / half, 0, None)
    winners = _smooth_votes(votes.argmax(axis=1))
    # diff is nonzero at the last step of a run: the next one begins a step later.
    edges = [0, *(np.flatnonzero(np.diff(winners)) + 1).tolist(), steps]
    runs = _drop_short_runs([(a, b, int(winners[a])) for a, b in pairwise(edges)])
    return [
        (region.start + a * VOTE_STEP, min(region.start + b * VOTE_STEP, region.stop), voice) for a, b, voice in runs
    ]


def _smooth_votes(winners: np.ndarray) -> np.ndarray:
    """Return the winner among SMOOTHING_VOTES neighbours: a vote that stands alone is overruled."""
    padded = np.pad(winners, SMOOTHING_VOTES // 2, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, SMOOTHING_VOTES)
    counts = (around[:, :, None] == around[:, None, :]).sum(axis=2)
    counts[:, SMOOTHING_VOTES // 2] += 1  # in doubt the one in the middle
    result: np.ndarray = np.take_along_axis(around, counts.argmax(axis=1)[:, None], axis=1)[:, 0]
    return result


def _drop_short_runs(runs: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return the runs with those that are too short given to their longer neighbour."""
    while len(runs) > 1:
        # The shortest first: joined to a neighbour, it may make another one long enough.
        at = min(range(len(runs)), key=lambda i: runs[i][1] - runs[i][0])
        start, stop, _ = runs[at]
        if (stop - start) * VOTE_STEP >= MIN_TURN_S * RATE:
            break
        neighbours = [i for i in (at - 1, at + 1) if 0 <= i < len(runs)]
        voice = runs[max(neighbours, key=lambda i: runs[i][1] - runs[i][0])][2]
        runs = _merge_runs([*runs[:at], (start, stop, voice), *runs[at + 1 :]])
    return runs


def _merge_runs(runs: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return the runs with neighbours of one voice joined."""
    merged: list[tuple[int, int, int]] = []
    for start, stop, voice in runs:
        if merged and merged[-1][2] == voice:
            start = merged.pop()[0]
        merged.append((start, stop, voice))
    return merged
