"""A source in, vectors with their times out: decode, cut and prepare here, encode and pool where the model is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .. import media
from ..encoders import load
from ..encoders._weights import digest
from ..encoders.pooling import pool
from ..errors import EncodeError, TruncatedMedia
from ..features.resample import resample
from ..media import Probe, Source, probe
from ..types import Clip, Encoder, Inputs, Kind, Record, Spec
from ..windows import Tail, fixed
from ._ahead import ahead

DEFAULT_MODELS = ("conse", "melstats")
"""Pictures and film frames, and sound: what runs with no hub and no account."""

CLIPS_A_PIECE = 16
"""How many clips are prepared and sent together: enough to be cheap, few enough to stay small in memory."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Prepared inputs of a few clips of one source, on their way to the model; spans are (start, stop) seconds."""

    model: str
    kind: Kind
    spans: tuple[tuple[float, float], ...]
    inputs: Inputs

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(array.nbytes for array in self.inputs.values())


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Mark what is raised inside with the stage it happened in; the innermost mark stays."""
    try:
        yield
    except Exception as error:
        if not hasattr(error, "stage"):
            error.stage = name  # type: ignore[attr-defined]
        raise


@dataclass(frozen=True)
class Embed:
    """The task of `percepts embed`: which models look at a source, and how it is cut for them.

    specs   the encoders, one per table of vectors
    fps     frames a second taken from a film for encoders of pictures
    hop     seconds from one window of sound to the next; None: windows touch and do not overlap
    tail    the last, shorter window: "pad" with silence (its times stay true), "keep" it short, "drop" it
    exact   decode large JPEGs at full size instead of at twice the size the model needs
    runtimes   which runtime runs which model; "auto" where it is not said. No setting: all give the same vectors
               within float noise, and a job goes on with the one it began with
    """

    specs: tuple[Spec, ...]
    fps: float = 1.0
    hop: float | None = None
    tail: Tail = "pad"
    exact: bool = False
    runtimes: Mapping[str, str] = field(default_factory=dict)
    _encoders: dict[str, Encoder] = field(default_factory=dict, compare=False, repr=False)
    _ran: set[str] = field(default_factory=set, compare=False, repr=False)

    name = "embed"

    def __post_init__(self) -> None:
        if not self.fps > 0:
            raise ValueError(f"expected fps above 0, got {self.fps}")
        if self.hop is not None and not self.hop > 0:
            raise ValueError(f"expected hop above 0 seconds, got {self.hop}")

    def settings(self) -> dict[str, Any]:
        """Everything that changes a vector, as JSON: the fingerprint of a job."""
        return {
            "task": self.name,
            "fps": self.fps,
            "hop": self.hop,
            "tail": self.tail,
            "exact": self.exact,
            "models": {spec.name: _identity(spec) for spec in self.specs},
        }

    def pieces(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[Piece]:
        """All of a source, prepared for every encoder that takes its kind; damage at its end goes into `notes`."""
        for spec in self.specs:
            if cut := _CUTTERS.get((medium.kind, spec.kind)):
                if spec.kind == "audio" and not medium.audio:
                    continue
                encoder = self.encoder(spec)
                for clips in _in_groups(cut(self, source, spec, notes), CLIPS_A_PIECE):
                    with stage("prepare"):
                        inputs = encoder.prepare(clips)
                    yield Piece(spec.name, clips[0].kind, tuple((c.start, c.stop) for c in clips), inputs)

    def why_none(self, medium: Probe) -> str:
        """Why a sound medium gave no window at all."""
        takes = ", ".join(f"{spec.name} takes {spec.kind}" for spec in self.specs)
        fits = any((medium.kind, spec.kind) in _CUTTERS for spec in self.specs)
        return f"gave no window: it holds no samples, or tail={self.tail}" if fits else f"is {medium.kind}; {takes}"

    def vectors(self, model: str, inputs: Inputs) -> np.ndarray:
        """(B, dim) float32 of prepared inputs; EncodeError where the model breaks its own promise."""
        encoder = self.encoder(next(spec for spec in self.specs if spec.name == model))
        vectors = pool(encoder.encode(inputs), encoder.spec.pool)
        self._ran.add(model)
        if vectors.shape[1:] != (encoder.spec.dim,):
            raise EncodeError(f"{model} gave vectors of shape {vectors.shape}, expected (B, {encoder.spec.dim})")
        return vectors

    def at_least(self, spec: Spec) -> int | None:
        """Shortest side in pixels to decode to. Twice the target: at once the target vectors drift (cosine 0.97)."""
        return None if self.exact or not spec.size else 2 * spec.size

    def encoder(self, spec: Spec) -> Encoder:
        """The encoder, made once in this process."""
        if spec.name not in self._encoders:
            self._encoders[spec.name] = load(spec, runtime=self.runtimes.get(spec.name, "auto"))
        return self._encoders[spec.name]

    def used_runtimes(self) -> dict[str, str]:
        """Which runtime each model that has run so far runs on."""
        ran = ((name, self._encoders[name]) for name in self._ran)
        return {name: runtime for name, encoder in ran if (runtime := getattr(encoder, "runtime", ""))}

    def __getstate__(self) -> dict[str, Any]:
        """Travels to workers without its encoders: each process makes its own."""
        return {**self.__dict__, "_encoders": {}, "_ran": set()}


def records(
    source: Source, model: str, *, fps: float = 1.0, hop: float | None = None, tail: Tail = "pad"
) -> Iterator[Record]:
    """Vectors of one source, lazily, with no job around them: memory is one piece, not one film.

    A film gives its frames to an encoder of pictures and its sound to one of sound. Raises MediaError where the
    source cannot be used; TruncatedMedia after the good part of one that is damaged later on.

    >>> from percepts import records
    >>> [r.vector.shape for r in records("photo.jpg", "fake-image")]  # doctest: +SKIP
    [(16,)]
    """
    from ..encoders import spec as find

    row = find(model)
    task = Embed((row,), fps=fps, hop=hop, tail=tail)
    medium = probe(source)
    name = str(source) if isinstance(source, str | Path) else ""
    notes: list[str] = []
    for piece in task.pieces(source, medium, notes):
        for (start, stop), vector in zip(piece.spans, task.vectors(row.name, piece.inputs), strict=True):
            yield Record(name, start, stop, row.name, piece.kind, vector)
    if notes:
        raise TruncatedMedia(notes[0])


def whole(windows: Iterable[Record]) -> Record:
    """The record of a whole source from those of its windows: their mean, each weighted by its duration.

    It says what it was made of by its `start` and `stop`, the first's and the last's. Vectors of length one give one of
    length one. Windows without a duration, as pictures are, count alike. ValueError for none, or for those of several
    sources or models.

    >>> a = Record("a.wav", 0.0, 10.0, "m", "audio", np.float32([1, 0]))
    >>> b = Record("a.wav", 10.0, 15.0, "m", "audio", np.float32([0, 2]))
    >>> whole([a, b]).vector
    array([0.6666667, 0.6666667], dtype=float32)
    """
    found = [window for window in windows if window.vector is not None]
    if len({(window.source, window.model) for window in found}) != 1:
        raise ValueError(f"expected windows with vectors of one source and one model, got {found[:3]}")
    vectors = np.stack([np.asarray(window.vector, np.float64) for window in found])
    weights = np.array([window.stop - window.start for window in found])
    mean = np.average(vectors, axis=0, weights=weights if weights.any() else None)
    norms = np.linalg.norm(vectors, axis=1)
    if np.allclose(norms, 1, atol=1e-4) and mean.any():
        mean /= np.linalg.norm(mean)
    first, last = min(found, key=lambda w: w.start), max(found, key=lambda w: w.stop)
    return Record(first.source, first.start, last.stop, first.model, first.kind, mean.astype(np.float32))


def _identity(spec: Spec) -> dict[str, Any]:
    facts = {k: v for k, v in asdict(spec).items() if k not in {"name", "license", "extra", "summary", "weights"}}
    return {**facts, "weights": digest(spec.weights)}


def _picture(task: Embed, source: Source, spec: Spec, notes: list[str]) -> Iterator[Clip]:
    with stage("decode"):
        yield media.open_image(source, at_least=task.at_least(spec))


def _frames(task: Embed, source: Source, spec: Spec, notes: list[str]) -> Iterator[Clip]:
    return ahead(_until_damage(media.stream_frames(source, fps=task.fps, at_least=task.at_least(spec)), notes))


def _sound(task: Embed, source: Source, spec: Spec, notes: list[str]) -> Iterator[Clip]:
    blocks = map(media.mono, ahead(_until_damage(media.stream_audio(source), notes)))
    return fixed(spec.window, task.hop, task.tail)(resample(blocks, int(spec.rate)))


def _film(task: Embed, source: Source, spec: Spec, notes: list[str]) -> Iterator[Clip]:
    frames = ahead(_until_damage(media.stream_frames(source, fps=spec.rate, at_least=task.at_least(spec)), notes))
    return fixed(spec.window, task.hop, task.tail)(frames)


_Cutter = Callable[[Embed, Source, Spec, list[str]], Iterator[Clip]]
_CUTTERS: dict[tuple[Kind, Kind], _Cutter] = {
    ("image", "image"): _picture,
    ("video", "image"): _frames,
    ("video", "video"): _film,
    ("video", "audio"): _sound,
    ("audio", "audio"): _sound,
}
"""(what the source is, what the encoder takes) → how to cut one for the other."""


def _until_damage(clips: Iterable[Clip], notes: list[str]) -> Iterator[Clip]:
    """The good part of a damaged medium ends like any other; what is wrong with the rest is noted."""
    try:
        with stage("decode"):
            yield from clips
    except TruncatedMedia as damage:
        notes.append(str(damage))


def _in_groups(clips: Iterable[Clip], size: int) -> Iterator[Sequence[Clip]]:
    stream = iter(clips)
    while group := list(islice(stream, size)):
        yield group
