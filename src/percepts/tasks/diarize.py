"""A recording in, who spoke when out: speech found, its voice taken every 0.4 s, the voices told apart."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from os import PathLike
from typing import Any, Literal

import numpy as np

from ..diarization.clustering import SimilarityThresholds, SpeakerCount
from ..diarization.embeddings import ClusteredVoices, DiarizerOutput, SpeechRegion, cluster_blocks, embed_speech
from ..diarization.online import LabelledRegion, OnlineDiarizer
from ..encoders import load_encoder
from ..encoders.builtin.silero import Silero
from ..encoders.hub.int8_check import canary_clip
from ..encoders.pooling import encode_vectors
from ..errors import JobError, NotMedia
from ..media import Source, mix_to_mono
from ..preprocess.resample import resample
from ..runtimes import defer_choice
from ..speech.audio_source import RATE, AudioSource, make_noise
from ..support.hungarian import max_weight_matching
from ..timeline.speakers import merge_turns
from ..types import Clip, Encoder, Segment, Spec
from ..windows.speech import Detector, Energy, SpeechRules, cut_speech
from .base import RecordFields
from .diarize_pyannote import PyannoteDiarizer
from .settings import SPEAKERS_SETTING, setting, to_settings

log = logging.getLogger(__name__)

Vad = Literal["silero", "energy"]
Backend = Literal["ge2e", "pyannote"]
PYANNOTE_MODEL = "pyannote/speaker-diarization-community-1"
"""Gated: it wants its conditions accepted and a token."""
_DETECTORS: Mapping[str, Callable[[], Detector]] = {"silero": Silero, "energy": Energy}

SPEAKER_MODEL = "ge2e"
THRESHOLDS: Mapping[str, SimilarityThresholds] = {"ge2e": SimilarityThresholds(apart=0.30, alike=0.80, same=0.88)}
"""By encoder; a new speaker encoder is a row here. ge2e's numbers come from the voices named in docs/diarize.md."""
KNOWN_VOICE_COSINE = 0.85  # cosine from which on a voice in the recording is one that was enrolled

SPEECH_RULES = SpeechRules(min_silence=0.1, pad=0.03, max_speech=30.0)
VOTE_STEP = RATE // 20  # samples to a vote
SMOOTHING_VOTES = 5  # votes of which the middle one decides
MIN_TURN_S = 0.25  # seconds; a turn inside speech that is shorter belongs to its neighbour
MAX_GAP_S = 0.5  # seconds of silence that one speaker may leave inside a turn


@dataclass(frozen=True, slots=True, eq=False)
class Diarization:
    """Who spoke when.

    source    as it was given
    duration  seconds of the recording
    speech    seconds in which somebody speaks
    turns     in order, without text; one speaker at a time, except from pyannote, which hears two at once
    speakers  name → (256,) float32, the direction of the voice: what `voices=` takes the next time. pyannote's vectors
              are of another length, and can be compared with each other only
    notes     what was wrong with the recording, if anything
    """

    source: str
    duration: float
    speech: float
    turns: tuple[Segment, ...]
    speakers: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = ()


def diarize(
    source: Source,
    *,
    speakers: int | None = None,
    min_speakers: int = 1,
    max_speakers: int = 20,
    voices: Mapping[str, Source | np.ndarray] | None = None,
    vad: Vad = "silero",
    backend: Backend = "ge2e",
    model: str = "",
) -> Diarization:
    """Who speaks when in a recording, or in the sound of a film, of any length, without being told how many they are.

    Silero finds the speech, the ge2e encoder takes the voice of every 1.6 s of it, spectral clustering tells the voices
    apart and finds their number (NME-SC). Beyond about ten minutes of speech this is done block by block and the
    blocks' voices are linked, so memory does not grow with the length. One speaker at a time: where two speak at once,
    the louder voice has the turn.

    Args:
        source: path or bytes.
        speakers: how many there are, if it is known.
        min_speakers: at least so many.
        max_speakers: at most so many.
        voices: known voices by name: a recording of each, of five seconds or more, or a vector of an earlier result.
            Whoever sounds like one of them (cosine 0.85 or more) is called by that name, the others SPEAKER_00,
            SPEAKER_01, … in the order in which they are first heard.
        vad: "silero", or "energy", which needs no weights and takes whatever is loud for speech.
        backend: "ge2e", which is all of the above, or "pyannote": its pipeline, which hears two at once and knows
            voices better. It knows no `voices` and has a detector of its own.
        model: pyannote's pipeline, a folder or a hub id; default pyannote/speaker-diarization-community-1.

    Returns:
        The turns and the voices. No speech: no turns. Of a damaged recording those up to the damage, with a note.

    Raises:
        FileNotFoundError, MediaError: it cannot be opened, or has no sound.
        WeightsError, MissingExtra: the weights or pyannote are not here and not to be had.
        ValueError: counts that cannot be, or what the backend cannot do.

    >>> import percepts
    >>> percepts.diarize("meeting.wav").turns[0]  # doctest: +SKIP
    Segment(start=0.48, stop=4.32, text='', words=(), speaker='SPEAKER_00', score=None, kind='speech')
    """
    recording = AudioSource(source)
    count = make_speaker_count(speakers, min_speakers, max_speakers)
    found = create_diarizer(count, voices or {}, vad, backend, model).diarize(recording.blocks())
    for note in recording.notes:
        log.warning("%s", note)
    return Diarization(
        recording.name, recording.duration, found.speech, found.turns, found.speakers, tuple(recording.notes)
    )


def diarize_online(
    source: Source | Iterable[Clip],
    *,
    speakers: int | None = None,
    min_speakers: int = 1,
    max_speakers: int = 20,
    vad: Vad = "silero",
) -> Iterator[Segment]:
    """Who speaks, told while it goes on and never taken back: for a microphone, a pipe, a broadcast.

    Nothing is told of the first 12 s of speech; then turns come when four seconds of speech have gathered and a pause
    comes, some ten seconds late. Early on a new voice may be taken for one that was heard: see docs/diarize.md for what
    it costs. Memory and the time of a step do not grow with the stream.

    Args:
        source: path or bytes of a recording, or blocks of one stream at any rate; how it is cut changes nothing.
        speakers: how many there are, if it is known.
        min_speakers: at least so many.
        max_speakers: at most so many.
        vad: "silero", or "energy", which needs no weights.

    Raises as `diarize`.

    >>> for turn in percepts.diarize_online("meeting.wav"):  # doctest: +SKIP
    ...     print(turn.start, turn.speaker)
    """
    count = make_speaker_count(speakers, min_speakers, max_speakers)
    if isinstance(source, str | PathLike | bytes):
        recording = AudioSource(source, block=1.0)
        yield from Diarizer(count, {}, vad).diarize_stream(recording.blocks())
        for note in recording.notes:
            log.warning("%s", note)
    else:
        yield from Diarizer(count, {}, vad).diarize_stream(resample(map(mix_to_mono, source), RATE))


def _digest_voices(voices: Mapping[str, Source | np.ndarray]) -> dict[str, str]:
    return {name: _digest_voice(voice) for name, voice in voices.items()}


def _digest_voice(voice: Source | np.ndarray) -> str:
    if isinstance(voice, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(voice, np.float32).tobytes()).hexdigest()
    if isinstance(voice, bytes):
        return hashlib.sha256(voice).hexdigest()
    with open(voice, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _restore_voices(stored: Mapping[str, str], specs: Sequence[Spec]) -> Mapping[str, Source | np.ndarray]:
    if stored:
        raise JobError(f"the recordings of the known voices ({', '.join(stored)}) are not kept in a job directory")
    return {}


@dataclass(frozen=True, eq=False)
class Diarizer:
    """How speakers are told apart; the arguments of `diarize`. Weights load when it is first used."""

    count: SpeakerCount = field(default_factory=SpeakerCount, metadata=SPEAKERS_SETTING)
    voices: Mapping[str, Source | np.ndarray] = field(
        default_factory=dict, metadata=setting("voices", _digest_voices, _restore_voices)
    )
    vad: Vad = "silero"

    name = SPEAKER_MODEL

    def __post_init__(self) -> None:
        make_detector(self.vad)

    def settings(self) -> dict[str, Any]:
        """Everything that changes a result, as JSON; a known voice by the digest of what it is known by."""
        return {"backend": SPEAKER_MODEL, **to_settings(self)}

    def diarize(self, sound: Iterable[Clip]) -> DiarizerOutput:
        """Blocks of one stream, mono at 16 kHz, to who speaks when in it."""
        encoder, detector = load_encoder(SPEAKER_MODEL), make_detector(self.vad)
        known = {name: _embed_known_voice(name, voice, encoder, detector) for name, voice in self.voices.items()}
        heard = cluster_blocks(
            embed_speech(cut_speech(detector, SPEECH_RULES)(sound), encoder), THRESHOLDS[SPEAKER_MODEL], self.count
        )
        names = _name_voices(heard.centres, known)
        turns = merge_turns(_iter_turns(heard, names), MAX_GAP_S)
        spoken = {turn.speaker for turn in turns}
        vectors = {name: centre.astype(np.float32) for name, centre in zip(names, heard.centres, strict=True)}
        return DiarizerOutput(
            sum(region.stop - region.start for region in heard.regions) / RATE,
            tuple(turns),
            {name: vector for name, vector in vectors.items() if name in spoken},
        )

    def rehearsals(self) -> Mapping[str, Callable[[], Iterable[RecordFields]]]:
        """Return what hears a made-up voice."""
        return {SPEAKER_MODEL: self._rehearse}

    def _rehearse(self) -> Iterable[RecordFields]:
        encoder = load_encoder(SPEAKER_MODEL)
        with defer_choice():
            for _ in cut_speech(make_detector(self.vad), SPEECH_RULES)([make_noise()]):
                pass
            found = encode_vectors(encoder, encoder.prepare([canary_clip(encoder.spec)]))
        return [{"vector": vector} for vector in found]

    def diarize_stream(self, sound: Iterable[Clip]) -> Iterator[Segment]:
        """Blocks of one stream, mono at 16 kHz, to turns as they are certain; known voices are not looked for."""
        following = OnlineDiarizer(load_encoder(SPEAKER_MODEL), THRESHOLDS[SPEAKER_MODEL], self.count)
        for stretch in cut_speech(make_detector(self.vad), SPEECH_RULES)(sound):
            yield from _make_turns(following.push(stretch))
        yield from _make_turns(following.finish())


def _make_turns(found: Sequence[LabelledRegion]) -> list[Segment]:
    return merge_turns(
        (
            Segment(start / RATE, stop / RATE, "", speaker=f"SPEAKER_{voice:02}")
            for region, labels in found
            for start, stop, voice in turns_from_votes(region, labels)
        ),
        MAX_GAP_S,
    )


def create_diarizer(
    count: SpeakerCount, voices: Mapping[str, Source | np.ndarray], vad: Vad, backend: Backend = "ge2e", model: str = ""
) -> Diarizer | PyannoteDiarizer:
    """The one that was asked for; ValueError for what it cannot do."""
    if backend == "pyannote":
        if voices:
            raise ValueError("pyannote knows no voices by name: use the default backend, ge2e")
        return PyannoteDiarizer(model or PYANNOTE_MODEL, count)
    if backend != SPEAKER_MODEL or model:
        raise ValueError(f"expected backend ge2e without a model, or pyannote, got {backend!r} and model {model!r}")
    return Diarizer(count, voices, vad)


def make_speaker_count(speakers: int | None, least: int, most: int) -> SpeakerCount:
    """How many there may be, of what a caller said."""
    return SpeakerCount(least, most) if speakers is None else SpeakerCount(speakers, speakers)


def make_detector(vad: str) -> Detector:
    """The voice detector of that name; ValueError for none."""
    if vad not in _DETECTORS:
        raise ValueError(f"expected a voice detector of {', '.join(_DETECTORS)}, got {vad!r}")
    return _DETECTORS[vad]()


# Voices to names


def _embed_known_voice(name: str, voice: Source | np.ndarray, encoder: Encoder, detector: Detector) -> np.ndarray:
    """(D,): the direction of an enrolled voice."""
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
    """The name of each voice: that of the enrolled one it is most like, or its number."""
    named: dict[int, str] = {}
    if known and len(centres):
        cosines = centres @ np.stack(list(known.values())).T
        # What is below the bar has no value to the assignment, or two weak likenesses could outbid a strong one.
        pairs = max_weight_matching(np.where(cosines >= KNOWN_VOICE_COSINE, cosines, 0.0))
        named = {voice: list(known)[column] for voice, column in pairs if cosines[voice, column] >= KNOWN_VOICE_COSINE}
    free = (name for number in range(len(centres) + len(known)) if (name := f"SPEAKER_{number:02}") not in known)
    return [named.get(voice) or next(free) for voice in range(len(centres))]


# Votes to turns


def _iter_turns(voices: ClusteredVoices, names: Sequence[str]) -> Iterator[Segment]:
    """One region after the other, each cut where the voice changes."""
    at = 0
    for region in voices.regions:
        labels = voices.labels[at : at + len(region.windows)]
        at += len(region.windows)
        for start, stop, voice in turns_from_votes(region, labels):
            yield Segment(start / RATE, stop / RATE, "", speaker=names[voice])


def turns_from_votes(region: SpeechRegion, labels: np.ndarray) -> list[tuple[int, int, int]]:
    """First sample, the one after the last, and voice: every window votes, most in its middle, for each 0.05 s."""
    steps = -(-(region.stop - region.start) // VOTE_STEP)
    middle = np.minimum(
        region.start + (np.arange(steps) + 0.5) * VOTE_STEP, region.stop - 0.5
    )  # the last may be cut short
    votes = np.zeros((steps, int(labels.max()) + 1))
    for (start, stop), voice in zip(region.windows, labels, strict=True):
        half = (stop - start) / 2
        votes[:, voice] += np.clip(1 - np.abs(middle - start - half) / half, 0, None)
    chosen = _smooth_votes(votes.argmax(axis=1))
    edges = [0, *(np.flatnonzero(np.diff(chosen)) + 1).tolist(), steps]
    found = [(a, b, int(chosen[a])) for a, b in pairwise(edges)]
    return [
        (region.start + a * VOTE_STEP, min(region.start + b * VOTE_STEP, region.stop), voice)
        for a, b, voice in _drop_short_runs(found)
    ]


def _smooth_votes(chosen: np.ndarray) -> np.ndarray:
    """What most of SMOOTH neighbours say: a vote that stands alone is overruled."""
    padded = np.pad(chosen, SMOOTHING_VOTES // 2, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, SMOOTHING_VOTES)
    counts = (around[:, :, None] == around[:, None, :]).sum(axis=2)
    counts[:, SMOOTHING_VOTES // 2] += 1  # in doubt the one in the middle
    result: np.ndarray = np.take_along_axis(around, counts.argmax(axis=1)[:, None], axis=1)[:, 0]
    return result


def _drop_short_runs(found: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Runs that are too short go to the longer neighbour; runs of one voice that meet are one."""
    while len(found) > 1:
        at = min(range(len(found)), key=lambda i: found[i][1] - found[i][0])
        start, stop, _ = found[at]
        if (stop - start) * VOTE_STEP >= MIN_TURN_S * RATE:
            break
        sides = [i for i in (at - 1, at + 1) if 0 <= i < len(found)]
        heir = found[max(sides, key=lambda i: found[i][1] - found[i][0])][2]
        found = _merge_runs([*found[:at], (start, stop, heir), *found[at + 1 :]])
    return found


def _merge_runs(found: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    joined: list[tuple[int, int, int]] = []
    for start, stop, voice in found:
        if joined and joined[-1][2] == voice:
            start = joined.pop()[0]
        joined.append((start, stop, voice))
    return joined
