"""pyannote's pipeline as a diarizer: turns that may overlap, long recordings block by block, voices linked by likeness.

Nothing of it is imported before it is used, and it is told to send no metrics. What it loads, and how, is its own
affair: its pipelines name classes in a YAML file and their weights are pickles, so name only those that you trust.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..diarization.clustering import SpeakerCount
from ..diarization.embeddings import DiarizerOutput
from ..errors import MissingExtra, WeightsError
from ..speech.audio_source import RATE
from ..support.hungarian import max_weight_matching
from ..timeline.speakers import merge_turns, split_by_speakers
from ..types import Clip, Segment
from .base import RecordFields
from .settings import NO_SETTING, SPEAKERS_SETTING, to_settings

BLOCK_S, OVERLAP_S = 1800.0, 60.0
"""Seconds that it looks at at once, and by which two of those overlap; speech.md's figures."""
SAME_SPEAKER_COSINE = 0.5
"""Cosine of two blocks' speaker embeddings from which on they are one speaker; WeSpeaker's, and not measured here."""
SAME_SPEAKER_OVERLAP = 0.5
"""Share of a speaker's time in the overlap of two blocks that makes it the same one, whatever the embeddings say."""
_METRICS_VARIABLE = "PYANNOTE_METRICS_ENABLED"


@dataclass(frozen=True, slots=True, eq=False)
class PyannoteDiarizer:
    """How pyannote tells speakers apart.

    model    a folder with a config.yaml, or a hub id; gated ones need their conditions accepted and HF_TOKEN
    count    how many there may be
    block    seconds at once, of longer recordings; overlap: of two successive ones
    """

    model: str = field(metadata=NO_SETTING)  # its name is that of its table
    count: SpeakerCount = field(default_factory=SpeakerCount, metadata=SPEAKERS_SETTING)
    block: float = BLOCK_S
    overlap: float = OVERLAP_S
    _pipelines: list[Any] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """What records call it."""
        return self.model

    def settings(self) -> dict[str, Any]:
        """Everything that changes a result, as far as it can be told without loading it."""
        return {"backend": "pyannote", **to_settings(self)}

    def rehearsals(self) -> Mapping[str, Callable[[], Iterable[RecordFields]]]:
        """Return what loads the pipeline; what it makes of a sound without voices is its own affair."""
        return {self.name: self._rehearse}

    def _rehearse(self) -> Iterable[RecordFields]:
        self._get_pipeline()
        return ()

    def diarize(self, sound: Iterable[Clip]) -> DiarizerOutput:
        """Blocks of one stream, mono at 16 kHz, to who speaks when in it; turns may overlap."""
        turns, voices = self.find_turns(sound)
        return DiarizerOutput(sum_speech_seconds(turns), tuple(turns), voices)

    def find_turns(self, sound: Iterable[Clip]) -> tuple[list[Segment], dict[str, np.ndarray]]:
        """The turns, and the voices that it gives vectors of."""
        linked = _LinkedSpeakers(self.overlap)
        for part, alone in _split_parts(sound, self.block, self.overlap):
            linked.add(part, *self._diarize_part(part, alone))
        return linked.turns(), linked.voices()

    def _diarize_part(self, part: Clip, alone: bool) -> tuple[list[Segment], dict[str, np.ndarray]]:
        """What it says of one stretch of sound, on the clock of the recording."""
        import torch

        count = self.count
        asked = {"num_speakers": count.least} if count.least == count.most else {
            "min_speakers": count.least, "max_speakers": count.most,
        }  # fmt: skip
        if not alone:
            asked = {"max_speakers": count.most}  # not everybody speaks in every block
        with _disable_metrics():
            found = self._get_pipeline()(
                {"waveform": torch.from_numpy(np.ascontiguousarray(part.data)), "sample_rate": round(part.rate)},
                **asked,
            )
        annotation, vectors = _unpack_output(found)
        turns = [
            Segment(part.start + span.start, part.start + span.end, "", speaker=str(label))
            for span, _, label in annotation.itertracks(yield_label=True)
        ]
        labels = [str(label) for label in annotation.labels()]
        known = {} if vectors is None else dict(zip(labels, np.asarray(vectors, np.float32), strict=False))
        return turns, {name: vector for name, vector in known.items() if np.isfinite(vector).all() and vector.any()}

    def _get_pipeline(self) -> Any:
        if not self._pipelines:
            self._pipelines.append(_load_pretrained(self.model))
        return self._pipelines[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to workers without its pipeline: each process makes its own."""
        return PyannoteDiarizer, (self.model, self.count, self.block, self.overlap)


def _load_pretrained(model: str) -> Any:
    try:
        with _disable_metrics():
            from pyannote.audio import Pipeline
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"backend pyannote needs {error.name}: pip install 'percepts[pyannote]'; the default backend needs neither "
            "it nor the hub"
        ) from error
    try:
        with _disable_metrics():
            pipeline = Pipeline.from_pretrained(model)
    except Exception as error:  # of the network, of the account, of the folder: the cure is the same
        raise _weights_error(
            model, f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
        ) from error
    if pipeline is None:
        raise _weights_error(model, "the hub does not give it to this account")
    return pipeline


def _weights_error(model: str, why: str) -> WeightsError:
    return WeightsError(
        f"pyannote cannot load {model} ({why}). Of a gated model accept the conditions at https://huggingface.co/{model}"
        " and set HF_TOKEN, or give a folder with its config.yaml"
    )


@contextmanager
def _disable_metrics() -> Iterator[None]:
    """Let pyannote send nothing home while this lasts; the environment is what it was after it."""
    before = os.environ.get(_METRICS_VARIABLE)
    os.environ[_METRICS_VARIABLE] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_METRICS_VARIABLE]
        else:
            os.environ[_METRICS_VARIABLE] = before


def _unpack_output(found: Any) -> tuple[Any, Any]:
    """The annotation, and a vector for each of its labels or None: of a DiarizeOutput (4.x), a pair, or alone (3.x)."""
    if hasattr(found, "speaker_diarization"):
        return found.speaker_diarization, found.speaker_embeddings
    return found if isinstance(found, tuple) else (found, None)


def _split_parts(sound: Iterable[Clip], block: float, overlap: float) -> Iterator[tuple[Clip, bool]]:
    """The stream in parts of `block` seconds that overlap, each with whether it is all there is.

    The last part is longer by what is left, rather than so short that nobody could be known in it.
    """
    size, step = round(block * RATE), round((block - overlap) * RATE)
    tape, first, begun = np.zeros((1, 0), np.float32), None, 0
    for clip in sound:
        first = first or clip
        tape = np.concatenate([tape, clip.data], axis=1)
        if tape.shape[1] >= size + step:
            yield _make_part(tape[:, :size], first, begun), False
            tape, begun = tape[:, step:], begun + step
    if first is not None:
        yield _make_part(tape, first, begun), begun == 0


def _make_part(data: np.ndarray, first: Clip, begun: int) -> Clip:
    return Clip(data, "audio", first.rate, first.start + begun / first.rate, first.source)


class _LinkedSpeakers:
    """The speakers of all parts so far, each with the sum of its vectors; parts are added in order."""

    def __init__(self, overlap: float) -> None:
        self._overlap = overlap
        self._turns: list[Segment] = []
        self._sums: dict[str, np.ndarray] = {}
        self._names: list[str] = []

    def add(self, part: Clip, turns: list[Segment], vectors: Mapping[str, np.ndarray]) -> None:
        """The turns of a part; up to the middle of the overlap those of the part before it count."""
        middle = part.start + self._overlap / 2 if self._turns or self._names else part.start
        names = self._match_labels(turns, vectors)
        for label, vector in vectors.items():
            self._sums[names[label]] = self._sums.get(names[label], 0) + _unit(vector)
        kept = [replace(turn, stop=min(turn.stop, middle)) for turn in self._turns if turn.start < middle]
        kept += [
            replace(turn, start=max(turn.start, middle), speaker=names[turn.speaker or ""])
            for turn in turns
            if turn.stop > middle
        ]
        self._turns = kept

    def _match_labels(self, turns: list[Segment], vectors: Mapping[str, np.ndarray]) -> dict[str, str]:
        """A name for each label of a part: of a speaker there is, or a new one."""
        labels = list(dict.fromkeys(turn.speaker or "" for turn in sorted(turns, key=lambda turn: turn.start)))
        labels += [label for label in vectors if label not in labels]
        gain = np.array([[self._score_match(label, name, turns, vectors) for name in self._names] for label in labels])
        pairs = max_weight_matching(gain) if gain.size else []
        known = {labels[i]: self._names[j] for i, j in pairs if gain[i, j] > 0}
        for label in labels:
            if label not in known:
                known[label] = f"SPEAKER_{len(self._names):02}"
                self._names.append(known[label])
        return known

    def _score_match(self, label: str, name: str, turns: list[Segment], vectors: Mapping[str, np.ndarray]) -> float:
        """How likely the two are one; 0 where they are not. Who speaks at the same times outweighs who sounds alike."""
        mine = [turn for turn in turns if turn.speaker == label]
        theirs = [turn for turn in self._turns if turn.speaker == name]
        until = max((turn.stop for turn in self._turns), default=0.0)
        heard = sum(max(0.0, min(turn.stop, until) - turn.start) for turn in mine)
        both = sum(max(0.0, min(a.stop, b.stop) - max(a.start, b.start)) for a in mine for b in theirs)
        share = both / heard if heard > 0 else 0.0
        cosine = (
            float(_unit(vectors[label]) @ _unit(self._sums[name])) if label in vectors and name in self._sums else 0
        )
        return (1 + share if share >= SAME_SPEAKER_OVERLAP else 0.0) + (
            cosine if cosine >= SAME_SPEAKER_COSINE else 0.0
        )

    def turns(self) -> list[Segment]:
        """All of them; what was cut at a seam is whole again."""
        return merge_turns(self._turns)

    def voices(self) -> dict[str, np.ndarray]:
        """The direction of each speaker's vectors, of those that have any."""
        spoken = {turn.speaker for turn in self._turns}
        return {name: _unit(total).astype(np.float32) for name, total in self._sums.items() if name in spoken}


def _unit(vector: np.ndarray) -> np.ndarray:
    result: np.ndarray = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return result


def sum_speech_seconds(turns: Iterable[Segment]) -> float:
    """Seconds in which anybody speaks."""
    return sum(stretch.stop - stretch.start for stretch in split_by_speakers(turns) if stretch.speakers)
