"""A source in, vectors with their times out: decode, cut and prepare here, encode and pool where the model is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Self

import numpy as np

from .. import media
from ..encoders import current_spec, judge, load
from ..encoders import spec as find
from ..encoders._canary import CANARY_KINDS, canary_clip
from ..encoders._graph import graph_of
from ..encoders.pooling import vectors
from ..errors import EncodeError, TruncatedMedia
from ..features.resample import resample
from ..media import Probe, Source
from ..runtimes import rehearsal
from ..types import Clip, Encoder, Inputs, Kind, Record, Spec
from ..windows import Tail, fixed
from . import task as tasks
from ._ahead import ahead
from .pooled import Pooled
from .settings import NO_SETTING, arguments, identities, setting, stored_specs, to_settings
from .task import Fields, Piece, stage

DEFAULT_MODELS = ("conse", "melstats")
"""Pictures and film frames, and sound: what runs with no hub and no account."""

CLIPS_A_PIECE = 16
"""How many clips are prepared and sent together: enough to be cheap, few enough to stay small in memory."""


@dataclass(frozen=True)
class Embed:
    """The task of `percepts embed`: which models look at a source, and how it is cut for them.

    specs   the encoders, one per table of vectors
    fps     frames a second taken from a film for encoders of pictures
    hop     seconds from one window of sound to the next; None: windows touch and do not overlap
    tail    the last, shorter window: "pad" with silence (its times stay true), "keep" it short, "drop" it
    exact   decode large JPEGs at full size instead of at twice the size the model needs
    whole   one record a source and encoder: the mean of its windows or frames, each weighted by its duration
    runtimes   which runtime runs which model; "auto" where it is not said. No setting: all give the same vectors
               within float noise, and a job goes on with the one it began with if none is asked for
    """

    specs: tuple[Spec, ...] = field(metadata=setting("models", identities, stored_specs))
    fps: float = 1.0
    hop: float | None = None
    tail: Tail = "pad"
    exact: bool = False
    whole: bool = False
    runtimes: Mapping[str, str] = field(default_factory=dict, metadata=NO_SETTING)
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
        return {"task": self.name, **to_settings(self)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], specs: Sequence[Spec]) -> Self:
        """Make the task that `settings()` speaks of, from the Specs that its directory holds; see `Repairable`."""
        return cls(**arguments(cls, settings, [current_spec(spec) for spec in specs]))

    def pieces(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[Piece]:
        """All of a source, prepared for every encoder that takes its kind; damage at its end goes into `notes`."""
        for spec in self.specs:
            if cut := _CUTTERS.get((medium.kind, spec.kind)):
                if spec.kind == "audio" and not medium.audio:
                    continue
                yield from self._prepared(spec, cut(self, source, spec, notes))

    def of_clip(self, clip: Clip) -> Iterator[Piece]:
        """A picture or a sound in memory, prepared for every encoder that takes its kind."""
        for spec in self.specs:
            if spec.kind == clip.kind:
                yield from self._prepared(spec, self._windows(clip, spec) if clip.kind == "audio" else [clip])

    def _windows(self, clip: Clip, spec: Spec) -> Iterator[Clip]:
        return fixed(spec.window, self.hop, self.tail)(resample([media.mono(clip)], int(spec.rate)))

    def _prepared(self, spec: Spec, clips: Iterable[Clip]) -> Iterator[Piece]:
        encoder = self.encoder(spec)
        for group in _in_groups(clips, CLIPS_A_PIECE):
            with stage("prepare"):
                inputs = encoder.prepare(group)
            yield Piece(spec.name, group[0].kind, tuple((c.start, c.stop) for c in group), inputs)

    def why_none(self, medium: Probe) -> str:
        """Why a sound medium gave no window at all."""
        takes = ", ".join(f"{spec.name} takes {spec.kind}" for spec in self.specs)
        fits = any((medium.kind, spec.kind) in _CUTTERS for spec in self.specs)
        return f"gave no window: it holds no samples, or tail={self.tail}" if fits else f"is {medium.kind}; {takes}"

    def takes(self, medium: Probe) -> bool:
        """Whether one of its encoders takes this."""
        kinds = (spec.kind for spec in self.specs if (medium.kind, spec.kind) in _CUTTERS)
        return any(kind != "audio" or medium.audio for kind in kinds)

    def results(self, model: str, inputs: Inputs) -> Sequence[Fields]:
        """The vectors of a batch."""
        return [{"vector": vector} for vector in self.vectors(model, inputs)]

    def gatherer(self) -> Pooled | None:
        """What makes one record of many, if that is asked for."""
        return Pooled() if self.whole else None

    def vectors(self, model: str, inputs: Inputs) -> np.ndarray:
        """(B, dim) float32 of prepared inputs; EncodeError where the model breaks its own promise."""
        found = self._vectors(model, inputs)
        self._ran.add(model)
        return found

    def _vectors(self, model: str, inputs: Inputs) -> np.ndarray:
        encoder = self.encoder(next(spec for spec in self.specs if spec.name == model))
        found = vectors(encoder, inputs)
        if found.shape[1:] != (encoder.spec.dim,):
            raise EncodeError(f"{model} gave vectors of shape {found.shape}, expected (B, {encoder.spec.dim})")
        return found

    def rehearsals(self) -> Mapping[str, Callable[[], Sequence[Fields]]]:
        """Return, by encoder, what gives the vector of a made-up clip."""
        return {spec.name: partial(self._rehearse, spec) for spec in self.specs if spec.kind in CANARY_KINDS}

    def _rehearse(self, spec: Spec) -> Sequence[Fields]:
        with rehearsal():
            return [{"vector": vector} for vector in self._vectors(spec.name, self.canary(spec))]

    def canary(self, spec: Spec) -> Inputs:
        """Return the inputs of one made-up clip of the kind that an encoder takes."""
        return self.encoder(spec).prepare([canary_clip(spec)])

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

    def used_graphs(self) -> dict[str, str]:
        """Which graph each model that has run so far runs as; "" for those that need none."""
        return {name: graph_of(self._encoders[name]) for name in self._ran}

    def on(self, runtimes: Mapping[str, str]) -> Embed:
        """The same with its encoders on these runtimes, where none was asked for."""
        return replace(self, runtimes={**runtimes, **self.runtimes})

    def __getstate__(self) -> dict[str, Any]:
        """Travels to workers without its encoders: each process makes its own."""
        return {**self.__dict__, "_encoders": {}, "_ran": set()}


def embedding(
    models: Sequence[str] = (),
    *,
    fps: float = 1.0,
    hop: float | None = None,
    tail: Tail = "pad",
    exact: bool = False,
    whole: bool = False,
    precision: str = "float32",
    runtime: str = "auto",
) -> Embed:
    """The task for encoders by name; none: DEFAULT_MODELS.

    Raises UnknownModel where there is none of a name, and EncodeError, before any source is looked at, where int8 is
    too far from float32.
    """
    specs = tuple(find(name, precision=precision) for name in dict.fromkeys(models or DEFAULT_MODELS))
    asked = {} if runtime == "auto" else {spec.name: runtime for spec in specs}
    task = Embed(specs, fps=fps, hop=hop, tail=tail, exact=exact, whole=whole, runtimes=asked)
    for spec in specs:
        judge(task.encoder(spec))
    return task


def records(
    source: Source,
    model: str,
    *,
    fps: float = 1.0,
    hop: float | None = None,
    tail: Tail = "pad",
    whole: bool = False,
) -> Iterator[Record]:
    """Vectors of one source, lazily, with no job around them: memory is one piece, not one film.

    A film gives its frames to an encoder of pictures and its sound to one of sound. `whole`: one record, the mean of
    the windows, each weighted by its duration; how many there were is in its `windows`. Raises MediaError where the
    source cannot be used; TruncatedMedia after the good part of one that is damaged later on.

    >>> from percepts import records
    >>> [r.vector.shape for r in records("photo.jpg", "fake-image")]  # doctest: +SKIP
    [(16,)]
    """
    return tasks.records(Embed((find(model),), fps=fps, hop=hop, tail=tail, whole=whole), source)


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
