"""Diarize with pyannote's pipeline: turns may overlap, and speakers are linked across the blocks of long files.

Nothing of it is imported before it is used, and its telemetry is switched off. What it loads, and how, is outside our
control: its pipelines name classes in a YAML file and their weights are pickles, so name only those that you trust.
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
"""Seconds that are processed at once, and by which two such blocks overlap."""
SAME_SPEAKER_COSINE = 0.5
"""Cosine from which on the embeddings of two blocks are one speaker; WeSpeaker's value, not measured by us."""
SAME_SPEAKER_OVERLAP = 0.5
"""Fraction of a speaker's time in the overlap of two blocks that makes it the same one, whatever the embeddings are."""
_METRICS_VARIABLE = "PYANNOTE_METRICS_ENABLED"


@dataclass(frozen=True, slots=True, eq=False)
class PyannoteDiarizer:
    """A diarizer that runs a pipeline of pyannote.audio.

    model    a folder with a config.yaml, or a hub id; for gated ones accept their conditions and set HF_TOKEN
    count    how many speakers there may be
    block    seconds that are processed at once, of longer files
    overlap  seconds by which two successive blocks overlap
    """

    model: str = field(metadata=NO_SETTING)  # its name is that of its table
    count: SpeakerCount = field(default_factory=SpeakerCount, metadata=SPEAKERS_SETTING)
    block: float = BLOCK_S
    overlap: float = OVERLAP_S
    # A list, which a frozen class can fill at the first use.
    _pipelines: list[Any] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """The name under which records list it."""
        return self.model

    def settings(self) -> dict[str, Any]:
        """Return everything that changes a result, as far as it is known without loading the pipeline."""
        return {"backend": "pyannote", **to_settings(self)}

    def rehearsals(self) -> Mapping[str, Callable[[], Iterable[RecordFields]]]:
        """Return what loads the pipeline; it is not run, since its result for audio without voices is unknown."""
        return {self.name: self._rehearse}

    def _rehearse(self) -> Iterable[RecordFields]:
        """Load the pipeline, so that a missing one is reported before a job begins."""
        self._get_pipeline()
        return ()

    def diarize(self, sound: Iterable[Clip]) -> DiarizerOutput:
        """Return who speaks when in the blocks of one stream, mono at 16 kHz; turns may overlap."""
        turns, voices = self.find_turns(sound)
        return DiarizerOutput(sum_speech_seconds(turns), tuple(turns), voices)

    def find_turns(self, sound: Iterable[Clip]) -> tuple[list[Segment], dict[str, np.ndarray]]:
        """Return the turns, and the embeddings of the speakers for whom pyannote gives one."""
        linked = _LinkedSpeakers(self.overlap)
        for part, alone in _split_parts(sound, self.block, self.overlap):
            linked.add(part, *self._diarize_part(part, alone))
        return linked.turns(), linked.voices()

    def _diarize_part(self, part: Clip, alone: bool) -> tuple[list[Segment], dict[str, np.ndarray]]:
        """Run the pipeline on one part; the turns are in seconds of the source."""
        import torch

        count = self.count
        limits = {"num_speakers": count.least} if count.least == count.most else {
            "min_speakers": count.least, "max_speakers": count.most,
        }  # fmt: skip
        if not alone:
            limits = {"max_speakers": count.most}  # not everybody speaks in every block
        with _disable_metrics():
            output = self._get_pipeline()(
                {"waveform": torch.from_numpy(np.ascontiguousarray(part.data)), "sample_rate": round(part.rate)},
                **limits,
            )
        annotation, vectors = _unpack_output(output)
        turns = [
            Segment(part.start + span.start, part.start + span.end, "", speaker=str(label))
            for span, _, label in annotation.itertracks(yield_label=True)
        ]
        labels = [str(label) for label in annotation.labels()]
        known = {} if vectors is None else dict(zip(labels, np.asarray(vectors, np.float32), strict=False))
        # pyannote pads with zeros, or leaves NaN, where a speaker has too little speech for a vector.
        return turns, {name: vector for name, vector in known.items() if np.isfinite(vector).all() and vector.any()}

    def _get_pipeline(self) -> Any:
        """Load the pipeline at the first call."""
        if not self._pipelines:
            self._pipelines.append(_load_pretrained(self.model))
        return self._pipelines[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the pipeline: each worker process loads its own."""
        return PyannoteDiarizer, (self.model, self.count, self.block, self.overlap)


def _load_pretrained(model: str) -> Any:
    """Load a pipeline; MissingExtra without pyannote.audio, WeightsError where the pipeline cannot be loaded."""
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
    except Exception as error:  # network, account or folder: the remedy is the same
        # Errors of the hub run over many lines; the first says what happened.
        raise _weights_error(
            model, f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
        ) from error
    # pyannote 3 returns None, and only prints why, where a gated model is refused.
    if pipeline is None:
        raise _weights_error(model, "the hub refuses it to this account")
    return pipeline


def _weights_error(model: str, why: str) -> WeightsError:
    """Build the error that says why the pipeline cannot be loaded and what to do."""
    return WeightsError(
        f"pyannote cannot load {model} ({why}). If the model is gated, accept its conditions at "
        f"https://huggingface.co/{model} and set HF_TOKEN, or pass a folder with its config.yaml"
    )


@contextmanager
def _disable_metrics() -> Iterator[None]:
    """Switch pyannote's telemetry off for a while, by an environment variable that is restored afterwards."""
    before = os.environ.get(_METRICS_VARIABLE)
    os.environ[_METRICS_VARIABLE] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_METRICS_VARIABLE]
        else:
            os.environ[_METRICS_VARIABLE] = before


def _unpack_output(output: Any) -> tuple[Any, Any]:
    """Return the annotation, and embeddings in the order of its labels or None, of pyannote 3.x or 4.x."""
    if hasattr(output, "speaker_diarization"):
        return output.speaker_diarization, output.speaker_embeddings
    return output if isinstance(output, tuple) else (output, None)


def _split_parts(sound: Iterable[Clip], block: float, overlap: float) -> Iterator[tuple[Clip, bool]]:
    """Yield parts of `block` seconds that overlap, each with whether it is the only one.

    The last part is longer by what is left, since speakers could not be recognised in a very short one.
    """
    size, step = round(block * RATE), round((block - overlap) * RATE)
    samples, first, offset = np.zeros((1, 0), np.float32), None, 0
    for clip in sound:
        first = first or clip
        samples = np.concatenate([samples, clip.data], axis=1)
        if samples.shape[1] >= size + step:
            yield _make_part(samples[:, :size], first, offset), False
            samples, offset = samples[:, step:], offset + step
    if first is not None:
        yield _make_part(samples, first, offset), offset == 0


def _make_part(data: np.ndarray, first: Clip, offset: int) -> Clip:
    """Build the clip of a part, `offset` samples after the start of the stream."""
    return Clip(data, "audio", first.rate, first.start + offset / first.rate, first.source)


class _LinkedSpeakers:
    """The speakers of all parts so far, each with the sum of its embeddings; parts are added in order."""

    def __init__(self, overlap: float) -> None:
        self._overlap = overlap
        self._turns: list[Segment] = []
        self._sums: dict[str, np.ndarray] = {}
        self._names: list[str] = []

    def add(self, part: Clip, turns: list[Segment], vectors: Mapping[str, np.ndarray]) -> None:
        """Add the turns of a part; up to the middle of the overlap those of the previous part count."""
        middle = part.start + self._overlap / 2 if self._turns or self._names else part.start
        names = self._match_labels(turns, vectors)
        for label, vector in vectors.items():
            self._sums[names[label]] = self._sums.get(names[label], 0) + _unit(vector)
        turns_so_far = [replace(turn, stop=min(turn.stop, middle)) for turn in self._turns if turn.start < middle]
        turns_so_far += [
            replace(turn, start=max(turn.start, middle), speaker=names[turn.speaker or ""])
            for turn in turns
            if turn.stop > middle
        ]
        self._turns = turns_so_far

    def _match_labels(self, turns: list[Segment], vectors: Mapping[str, np.ndarray]) -> dict[str, str]:
        """Return a name for each label of a part: that of a known speaker, or a new one."""
        # By their first turns, so that numbers follow the order of speaking.
        labels = list(dict.fromkeys(turn.speaker or "" for turn in sorted(turns, key=lambda turn: turn.start)))
        # One with a vector alone needs a name, too: `add` sums its vector under it.
        labels += [label for label in vectors if label not in labels]
        gain = np.array([[self._score_match(label, name, turns, vectors) for name in self._names] for label in labels])
        # One to one: two labels of a part are never the same speaker.
        pairs = max_weight_matching(gain) if gain.size else []
        known = {labels[i]: self._names[j] for i, j in pairs if gain[i, j] > 0}
        for label in labels:
            if label not in known:
                known[label] = f"SPEAKER_{len(self._names):02}"
                self._names.append(known[label])
        return known

    def _score_match(self, label: str, name: str, turns: list[Segment], vectors: Mapping[str, np.ndarray]) -> float:
        """Score that two speakers are one; 0 where they are not. Common times outweigh similar voices."""
        own = [turn for turn in turns if turn.speaker == label]
        theirs = [turn for turn in self._turns if turn.speaker == name]
        until = max((turn.stop for turn in self._turns), default=0.0)
        seconds = sum(max(0.0, min(turn.stop, until) - turn.start) for turn in own)
        both = sum(max(0.0, min(a.stop, b.stop) - max(a.start, b.start)) for a in own for b in theirs)
        share = both / seconds if seconds > 0 else 0.0
        cosine = (
            float(_unit(vectors[label]) @ _unit(self._sums[name])) if label in vectors and name in self._sums else 0
        )
        # 1 is above any cosine below one: no likeness of voices outbids a common time.
        return (1 + share if share >= SAME_SPEAKER_OVERLAP else 0.0) + (
            cosine if cosine >= SAME_SPEAKER_COSINE else 0.0
        )

    def turns(self) -> list[Segment]:
        """Return all turns; those that were cut between two parts are joined again."""
        return merge_turns(self._turns)

    def voices(self) -> dict[str, np.ndarray]:
        """Return the mean embedding, of length one, of each speaker that has any and has turns."""
        spoken = {turn.speaker for turn in self._turns}
        return {name: _unit(total).astype(np.float32) for name, total in self._sums.items() if name in spoken}


def _unit(vector: np.ndarray) -> np.ndarray:
    """Scale a vector to length one; zeros stay zeros."""
    result: np.ndarray = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return result


def sum_speech_seconds(turns: Iterable[Segment]) -> float:
    """Return the seconds in which anybody speaks."""
    return sum(span.stop - span.start for span in split_by_speakers(turns) if span.speakers)
