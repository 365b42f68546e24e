"""A recording in, who spoke when out: speech found, its voice taken every 0.4 s, the voices told apart."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

from ..encoders import load
from ..encoders.silero import Silero
from ..errors import NotMedia, TruncatedMedia
from ..features.resample import resample
from ..media import Source, mono, stream_audio
from ..timeline.assignment import best_pairs
from ..timeline.clusters import Count, Likeness
from ..timeline.speakers import merged
from ..types import Clip, Encoder, Segment
from ..windows.speech import Detector, Energy, Rules, speech
from ._voices import RATE, Region, Voices, blocks, told_apart

log = logging.getLogger(__name__)

Vad = Literal["silero", "energy"]
_DETECTORS: Mapping[str, Callable[[], Detector]] = {"silero": Silero, "energy": Energy}

MODEL = "ge2e"
LIKENESS: Mapping[str, Likeness] = {"ge2e": Likeness(apart=0.30, alike=0.80, same=0.90)}
"""By encoder; a new speaker encoder is a row here. ge2e's numbers come from the voices named in docs/diarize.md."""
KNOWN = 0.85  # cosine from which on a voice in the recording is one that was enrolled

RULES = Rules(min_silence=0.1, pad=0.03, max_speech=30.0)
STEP = RATE // 20  # samples to a vote
SMOOTH = 5  # votes of which the middle one decides
SHORT = 0.25  # seconds; a turn inside speech that is shorter belongs to its neighbour
GAP = 0.5  # seconds of silence that one speaker may leave inside a turn


@dataclass(frozen=True, slots=True, eq=False)
class Diarization:
    """Who spoke when.

    source    as it was given
    duration  seconds of the recording
    speech    seconds in which somebody speaks
    turns     in order, one speaker at a time; no text
    speakers  name → (256,) float32, the direction of the voice: what `voices=` takes the next time
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

    Returns:
        The turns and the voices. No speech: no turns. Of a damaged recording those up to the damage, with a note.

    Raises:
        FileNotFoundError, MediaError: it cannot be opened, or has no sound.
        WeightsError: the weights are not here and not to be had.
        ValueError: counts that cannot be.

    >>> import percepts
    >>> percepts.diarize("meeting.wav").turns[0]  # doctest: +SKIP
    Segment(start=0.48, stop=4.32, text='', words=(), speaker='SPEAKER_00', score=None, kind='speech')
    """
    count = Count(min_speakers, max_speakers) if speakers is None else Count(speakers, speakers)
    encoder, detector = load(MODEL), _detector(vad)
    known = {name: _known(name, voice, encoder, detector) for name, voice in (voices or {}).items()}
    heard = _Heard()
    found = told_apart(blocks(_speech(source, detector, heard), encoder), LIKENESS[MODEL], count)
    names = _names(found.centres, known)
    turns = merged(_turns(found, names), GAP)
    spoken = {turn.speaker for turn in turns}
    vectors = {name: centre.astype(np.float32) for name, centre in zip(names, found.centres, strict=True)}
    return Diarization(
        str(source) if not isinstance(source, bytes) else f"{len(source)} bytes",
        heard.duration,
        sum(region.stop - region.start for region in found.regions) / RATE,
        tuple(turns),
        {name: vector for name, vector in vectors.items() if name in spoken},
        tuple(heard.notes),
    )


def _detector(vad: str) -> Detector:
    if vad not in _DETECTORS:
        raise ValueError(f"expected a voice detector of {', '.join(_DETECTORS)}, got {vad!r}")
    return _DETECTORS[vad]()


def _speech(source: Source, detector: Detector, heard: _Heard) -> Iterator[Clip]:
    """The stretches of speech, mono at 16 kHz; of a damaged recording those before the damage."""

    def counted(blocks: Iterable[Clip]) -> Iterator[Clip]:
        for block in blocks:
            heard.duration = max(heard.duration, block.stop)
            yield mono(block)

    try:
        yield from speech(detector, RULES)(resample(counted(stream_audio(source)), RATE))
    except TruncatedMedia as error:
        heard.notes.append(str(error))
        log.warning("%s", error)


@dataclass(slots=True)
class _Heard:
    """What is known of a recording when its end has come."""

    duration: float = 0.0
    notes: list[str] = field(default_factory=list)


# Voices to names


def _known(name: str, voice: Source | np.ndarray, encoder: Encoder, detector: Detector) -> np.ndarray:
    """(D,): the direction of an enrolled voice."""
    if isinstance(voice, np.ndarray):
        if voice.shape != (encoder.spec.dim,) or not np.linalg.norm(voice) > 0:
            raise ValueError(f"{name}: expected a vector of {encoder.spec.dim} numbers, got shape {voice.shape}")
        return _unit(voice)
    total = np.zeros(encoder.spec.dim)
    for block in blocks(_speech(voice, detector, _Heard()), encoder):
        total += block.weights @ block.vectors
    if not total.any():
        raise NotMedia(f"{name}: no speech in the recording of this voice; give one of five seconds or more")
    return _unit(total)


def _unit(vector: np.ndarray) -> np.ndarray:
    result: np.ndarray = vector / np.linalg.norm(vector)
    return result


def _names(centres: np.ndarray, known: Mapping[str, np.ndarray]) -> list[str]:
    """The name of each voice: that of the enrolled one it is most like, or its number."""
    named: dict[int, str] = {}
    if known and len(centres):
        cosines = centres @ np.stack(list(known.values())).T
        # What is below the bar has no value to the assignment, or two weak likenesses could outbid a strong one.
        pairs = best_pairs(np.where(cosines >= KNOWN, cosines, 0.0))
        named = {voice: list(known)[column] for voice, column in pairs if cosines[voice, column] >= KNOWN}
    free = (name for number in range(len(centres) + len(known)) if (name := f"SPEAKER_{number:02}") not in known)
    return [named.get(voice) or next(free) for voice in range(len(centres))]


# Votes to turns


def _turns(voices: Voices, names: Sequence[str]) -> Iterator[Segment]:
    """One region after the other, each cut where the voice changes."""
    at = 0
    for region in voices.regions:
        labels = voices.labels[at : at + len(region.windows)]
        at += len(region.windows)
        for start, stop, voice in runs(region, labels):
            yield Segment(start / RATE, stop / RATE, "", speaker=names[voice])


def runs(region: Region, labels: np.ndarray) -> list[tuple[int, int, int]]:
    """First sample, the one after the last, and voice: every window votes, most in its middle, for each 0.05 s."""
    steps = -(-(region.stop - region.start) // STEP)
    middle = np.minimum(region.start + (np.arange(steps) + 0.5) * STEP, region.stop - 0.5)  # the last may be cut short
    votes = np.zeros((steps, int(labels.max()) + 1))
    for (start, stop), voice in zip(region.windows, labels, strict=True):
        half = (stop - start) / 2
        votes[:, voice] += np.clip(1 - np.abs(middle - start - half) / half, 0, None)
    chosen = _smooth(votes.argmax(axis=1))
    edges = [0, *(np.flatnonzero(np.diff(chosen)) + 1).tolist(), steps]
    found = [(a, b, int(chosen[a])) for a, b in pairwise(edges)]
    return [
        (region.start + a * STEP, min(region.start + b * STEP, region.stop), voice) for a, b, voice in _lasting(found)
    ]


def _smooth(chosen: np.ndarray) -> np.ndarray:
    """What most of SMOOTH neighbours say: a vote that stands alone is overruled."""
    padded = np.pad(chosen, SMOOTH // 2, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, SMOOTH)
    counts = (around[:, :, None] == around[:, None, :]).sum(axis=2)
    counts[:, SMOOTH // 2] += 1  # in doubt the one in the middle
    result: np.ndarray = np.take_along_axis(around, counts.argmax(axis=1)[:, None], axis=1)[:, 0]
    return result


def _lasting(found: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Runs that are too short go to the longer neighbour; runs of one voice that meet are one."""
    while len(found) > 1:
        at = min(range(len(found)), key=lambda i: found[i][1] - found[i][0])
        start, stop, _ = found[at]
        if (stop - start) * STEP >= SHORT * RATE:
            break
        sides = [i for i in (at - 1, at + 1) if 0 <= i < len(found)]
        heir = found[max(sides, key=lambda i: found[i][1] - found[i][0])][2]
        found = _met([*found[:at], (start, stop, heir), *found[at + 1 :]])
    return found


def _met(found: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    joined: list[tuple[int, int, int]] = []
    for start, stop, voice in found:
        if joined and joined[-1][2] == voice:
            start = joined.pop()[0]
        joined.append((start, stop, voice))
    return joined
