"""A source in, vectors with their times out: decode, cut and prepare here, encode and pool where the model is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Self

import numpy as np

from .. import media
from ..encoders import check_precision, load_encoder, update_spec
from ..encoders import model_spec as find
from ..encoders.graph import find_graph_digest
from ..encoders.hub.int8_check import CANARY_KINDS, canary_clip
from ..encoders.pooling import encode_vectors
from ..errors import EncodeError, TruncatedMedia
from ..media import Probe, Source
from ..preprocess.resample import resample
from ..runtimes import defer_choice
from ..support.prefetch import prefetch
from ..types import Clip, Encoder, Inputs, Kind, Record, Spec
from ..windows import Tail, cut_fixed_windows
from . import base as tasks
from .base import PreparedBatch, RecordFields, mark_stage
from .pooling import WindowMean
from .settings import NO_SETTING, identify_models, read_arguments, restore_specs, setting, to_settings

DEFAULT_MODELS = ("conse", "melstats")
"""Pictures and film frames, and sound: what runs with no hub and no account."""

CLIPS_PER_BATCH = 16
"""How many clips are prepared and sent together: enough to be cheap, few enough to stay small in memory."""


@dataclass(frozen=True)
class EmbedTask:
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

    specs: tuple[Spec, ...] = field(metadata=setting("models", identify_models, restore_specs))
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
        return cls(**read_arguments(cls, settings, [update_spec(spec) for spec in specs]))

    def prepare_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch]:
        """All of a source, prepared for every encoder that takes its kind; damage at its end goes into `notes`."""
        for spec in self.specs:
            if cut := _CUTTERS.get((medium.kind, spec.kind)):
                if spec.kind == "audio" and not medium.audio:
                    continue
                yield from self._prepare_clips(spec, cut(self, source, spec, notes))

    def prepare_clip(self, clip: Clip) -> Iterator[PreparedBatch]:
        """A picture or a sound in memory, prepared for every encoder that takes its kind."""
        for spec in self.specs:
            if spec.kind == clip.kind:
                yield from self._prepare_clips(spec, self._cut_windows(clip, spec) if clip.kind == "audio" else [clip])

    def _cut_windows(self, clip: Clip, spec: Spec) -> Iterator[Clip]:
        return cut_fixed_windows(spec.window, self.hop, self.tail)(resample([media.mix_to_mono(clip)], int(spec.rate)))

    def _prepare_clips(self, spec: Spec, clips: Iterable[Clip]) -> Iterator[PreparedBatch]:
        encoder = self.encoder(spec)
        for group in _group_clips(clips, CLIPS_PER_BATCH):
            with mark_stage("prepare"):
                inputs = encoder.prepare(group)
            yield PreparedBatch(spec.name, group[0].kind, tuple((c.start, c.stop) for c in group), inputs)

    def explain_empty(self, medium: Probe) -> str:
        """Why a sound medium gave no window at all."""
        takes = ", ".join(f"{spec.name} takes {spec.kind}" for spec in self.specs)
        fits = any((medium.kind, spec.kind) in _CUTTERS for spec in self.specs)
        return f"gave no window: it holds no samples, or tail={self.tail}" if fits else f"is {medium.kind}; {takes}"

    def accepts(self, medium: Probe) -> bool:
        """Whether one of its encoders takes this."""
        kinds = (spec.kind for spec in self.specs if (medium.kind, spec.kind) in _CUTTERS)
        return any(kind != "audio" or medium.audio for kind in kinds)

    def run_batch(self, model: str, inputs: Inputs) -> Sequence[RecordFields]:
        """The vectors of a batch."""
        return [{"vector": vector} for vector in self.vectors(model, inputs)]

    def gatherer(self) -> WindowMean | None:
        """What makes one record of many, if that is asked for."""
        return WindowMean() if self.whole else None

    def vectors(self, model: str, inputs: Inputs) -> np.ndarray:
        """(B, dim) float32 of prepared inputs; EncodeError where the model breaks its own promise."""
        found = self._vectors(model, inputs)
        self._ran.add(model)
        return found

    def _vectors(self, model: str, inputs: Inputs) -> np.ndarray:
        encoder = self.encoder(next(spec for spec in self.specs if spec.name == model))
        found = encode_vectors(encoder, inputs)
        if found.shape[1:] != (encoder.spec.dim,):
            raise EncodeError(f"{model} gave vectors of shape {found.shape}, expected (B, {encoder.spec.dim})")
        return found

    def rehearsals(self) -> Mapping[str, Callable[[], Sequence[RecordFields]]]:
        """Return, by encoder, what gives the vector of a made-up clip."""
        return {spec.name: partial(self._rehearse, spec) for spec in self.specs if spec.kind in CANARY_KINDS}

    def _rehearse(self, spec: Spec) -> Sequence[RecordFields]:
        with defer_choice():
            return [{"vector": vector} for vector in self._vectors(spec.name, self.canary(spec))]

    def canary(self, spec: Spec) -> Inputs:
        """Return the inputs of one made-up clip of the kind that an encoder takes."""
        return self.encoder(spec).prepare([canary_clip(spec)])

    def min_decode_size(self, spec: Spec) -> int | None:
        """Shortest side in pixels to decode to. Twice the target: at once the target vectors drift (cosine 0.97)."""
        return None if self.exact or not spec.size else 2 * spec.size

    def encoder(self, spec: Spec) -> Encoder:
        """The encoder, made once in this process."""
        if spec.name not in self._encoders:
            self._encoders[spec.name] = load_encoder(spec, runtime=self.runtimes.get(spec.name, "auto"))
        return self._encoders[spec.name]

    def runtimes_used(self) -> dict[str, str]:
        """Which runtime each model that has run so far runs on."""
        ran = ((name, self._encoders[name]) for name in self._ran)
        return {name: runtime for name, encoder in ran if (runtime := getattr(encoder, "runtime", ""))}

    def used_graphs(self) -> dict[str, str]:
        """Which graph each model that has run so far runs as; "" for those that need none."""
        return {name: find_graph_digest(self._encoders[name]) for name in self._ran}

    def with_runtimes(self, runtimes: Mapping[str, str]) -> EmbedTask:
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
) -> EmbedTask:
    """The task for encoders by name; none: DEFAULT_MODELS.

    Raises UnknownModel where there is none of a name, and EncodeError, before any source is looked at, where int8 is
    too far from float32.
    """
    specs = tuple(find(name, precision=precision) for name in dict.fromkeys(models or DEFAULT_MODELS))
    asked = {} if runtime == "auto" else {spec.name: runtime for spec in specs}
    task = EmbedTask(specs, fps=fps, hop=hop, tail=tail, exact=exact, whole=whole, runtimes=asked)
    for spec in specs:
        check_precision(task.encoder(spec))
    return task


def embed_iter(
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
    return tasks.records(EmbedTask((find(model),), fps=fps, hop=hop, tail=tail, whole=whole), source)


def _decode_image(task: EmbedTask, source: Source, spec: Spec, notes: list[str]) -> Iterator[Clip]:
    with mark_stage("decode"):
        yield media.open_image(source, at_least=task.min_decode_size(spec))


def _decode_frames(task: EmbedTask, source: Source, spec: Spec, notes: list[str]) -> Iterator[Clip]:
    return prefetch(
        stop_at_damage(media.stream_frames(source, fps=task.fps, at_least=task.min_decode_size(spec)), notes)
    )


def _cut_audio(task: EmbedTask, source: Source, spec: Spec, notes: list[str]) -> Iterator[Clip]:
    blocks = map(media.mix_to_mono, prefetch(stop_at_damage(media.stream_audio(source), notes)))
    return cut_fixed_windows(spec.window, task.hop, task.tail)(resample(blocks, int(spec.rate)))


def _cut_video(task: EmbedTask, source: Source, spec: Spec, notes: list[str]) -> Iterator[Clip]:
    frames = prefetch(
        stop_at_damage(media.stream_frames(source, fps=spec.rate, at_least=task.min_decode_size(spec)), notes)
    )
    return cut_fixed_windows(spec.window, task.hop, task.tail)(frames)


_Cutter = Callable[[EmbedTask, Source, Spec, list[str]], Iterator[Clip]]
_CUTTERS: dict[tuple[Kind, Kind], _Cutter] = {
    ("image", "image"): _decode_image,
    ("video", "image"): _decode_frames,
    ("video", "video"): _cut_video,
    ("video", "audio"): _cut_audio,
    ("audio", "audio"): _cut_audio,
}
"""(what the source is, what the encoder takes) → how to cut one for the other."""


def stop_at_damage(clips: Iterable[Clip], notes: list[str]) -> Iterator[Clip]:
    """The good part of a damaged medium ends like any other; what is wrong with the rest is noted."""
    try:
        with mark_stage("decode"):
            yield from clips
    except TruncatedMedia as damage:
        notes.append(str(damage))


def _group_clips(clips: Iterable[Clip], size: int) -> Iterator[Sequence[Clip]]:
    stream = iter(clips)
    while group := list(islice(stream, size)):
        yield group
