"""Embed sources: decode, cut and prepare them in the workers, and run the encoders where the model is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Literal, Self, TypedDict, Unpack, cast, get_args

import numpy as np

from .. import media
from ..encoders import check_precision, load_encoder, model_spec, update_spec
from ..encoders.graph import find_graph_digest
from ..encoders.hub.int8_check import CANARY_KINDS, canary_clip
from ..encoders.pooling import encode_vectors, normalise
from ..errors import EncodeError, TruncatedMedia
from ..media import Probe, Source
from ..preprocess.resample import resample
from ..runtimes import defer_choice
from ..support.deprecated import OldArgument, accept_old_arguments
from ..support.prefetch import prefetch
from ..types import Clip, Encoder, Inputs, Kind, Spec, VectorRecord
from ..windows import Tail, cut_fixed_windows
from .base import BatchedTask, PreparedBatch, RecordFields, mark_stage
from .pooling import WindowMean
from .settings import NO_SETTING, identify_models, restore_specs, setting

DEFAULT_MODELS = ("conse", "melstats")
"""One encoder of images and video frames, one of audio; both run without a download and without an account."""

Rows = Literal["window", "source"]
"""What a row of a table of vectors is made of."""


def read_rows(whole: object) -> Rows:
    """Return `rows` for the `whole` of older releases, which was True for one row per source."""
    return "source" if whole else "window"


_ROWS = setting("whole", lambda rows: rows == "source", lambda stored, specs: read_rows(stored))
"""Job directories keep it as a truth value, under the name that the option had in older releases."""
OLD_WHOLE = OldArgument("rows", read_rows, 'rows="source"')
"""The argument `whole` of older releases."""

CLIPS_PER_BATCH = 16
"""How many clips are prepared and sent together: enough to be cheap, few enough to stay small in memory."""


class CutKeywords(TypedDict, total=False):
    """How media is cut; the fields of `EmbedTask` of the same names, with their meaning and their defaults."""

    fps: float
    hop: float | None
    tail: Tail
    exact: bool


@dataclass(frozen=True)
class EmbedTask(BatchedTask):
    """The task of `percepts embed`: which encoders run, and how media is cut for them.

    specs   the encoders, one for each table of vectors
    fps     frames a second taken from a video for encoders of images
    hop     seconds from the start of one audio window to the next; None: windows touch and do not overlap
    tail    the last, shorter window: "pad" with silence (its times stay true), "keep" it short, "drop" it
    exact   decode large JPEGs at full size instead of at twice the size that the model needs
    rows    "window": a record for each window or frame; "source": one record for each source and encoder, the mean of
            its windows or frames, each weighted by its duration
    runtimes   the runtime by model; "auto" for a model that is not in it. No setting: all runtimes give the same
               vectors within float noise, and a job continues with the one that it began with unless one is chosen
    """

    # The default is there for Python alone: without one, dataclass would uncover the property of the base class.
    specs: tuple[Spec, ...] = field(default=(), metadata=setting("models", identify_models, restore_specs))
    fps: float = 1.0
    hop: float | None = None
    tail: Tail = "pad"
    exact: bool = False
    rows: Rows = field(default="window", metadata=_ROWS)
    runtimes: Mapping[str, str] = field(default_factory=dict, metadata=NO_SETTING)
    _encoders: dict[str, Encoder] = field(default_factory=dict, compare=False, repr=False)
    _models_run: set[str] = field(default_factory=set, compare=False, repr=False)

    name = "embed"

    def __post_init__(self) -> None:
        if not self.fps > 0:
            raise ValueError(f"expected fps above 0, got {self.fps}")
        if self.hop is not None and not self.hop > 0:
            raise ValueError(f"expected hop above 0 seconds, got {self.hop}")
        if self.rows not in get_args(Rows):
            raise ValueError(f"expected rows to be window or source, got {self.rows!r}")

    @classmethod
    def create(
        cls,
        models: Sequence[str] = (),
        *,
        rows: Rows = "window",
        precision: str = "float32",
        runtime: str = "auto",
        **cut: Unpack[CutKeywords],
    ) -> Self:
        """Return the task for encoders by name; without names, for DEFAULT_MODELS.

        Raises:
            UnknownModel: there is no encoder of a name.
            EncodeError: int8 is too far from float32; raised before any source is read.
        """
        # A dict drops a model that is named twice, and keeps the order.
        specs = tuple(model_spec(name, precision=precision) for name in dict.fromkeys(models or DEFAULT_MODELS))
        runtimes = {} if runtime == "auto" else {spec.name: runtime for spec in specs}
        task = cls(specs, rows=rows, runtimes=runtimes, **cut)
        for spec in specs:
            check_precision(task.get_encoder(spec))
        return task

    @classmethod
    def update_specs(cls, specs: Sequence[Spec]) -> Sequence[Spec]:
        """Return stored specs as this release knows them."""
        return [update_spec(spec) for spec in specs]

    def prepare_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch]:
        """Prepare all of a source for every encoder that takes its kind; damage at its end goes into `notes`."""
        for spec in self.specs:
            if cut := _CUTTERS.get((medium.kind, spec.kind)):
                # _CUTTERS has a row for the audio of a video, and this video is silent.
                if spec.kind == "audio" and not medium.audio:
                    continue
                yield from self._prepare_clips(spec, cut(self, source, spec, notes))

    def prepare_clip(self, clip: Clip) -> Iterator[PreparedBatch]:
        """Prepare an image or audio in memory for every encoder that takes its kind."""
        for spec in self.specs:
            if spec.kind == clip.kind:
                yield from self._prepare_clips(spec, self._cut_windows(clip, spec) if clip.kind == "audio" else [clip])

    def _cut_windows(self, clip: Clip, spec: Spec) -> Iterator[Clip]:
        return cut_fixed_windows(spec.window, self.hop, self.tail)(resample([media.mix_to_mono(clip)], int(spec.rate)))

    def _prepare_clips(self, spec: Spec, clips: Iterable[Clip]) -> Iterator[PreparedBatch]:
        encoder = self.get_encoder(spec)
        for group in _group_clips(clips, CLIPS_PER_BATCH):
            with mark_stage("prepare"):
                inputs = encoder.prepare(group)
            yield PreparedBatch(spec.name, group[0].kind, tuple((c.start, c.stop) for c in group), inputs)

    def explain_empty(self, medium: Probe) -> str:
        """Return why a readable source gave no window."""
        takes = ", ".join(f"{spec.name} takes {spec.kind}" for spec in self.specs)
        fits = any((medium.kind, spec.kind) in _CUTTERS for spec in self.specs)
        return f"gave no window: it holds no samples, or tail={self.tail}" if fits else f"is {medium.kind}; {takes}"

    def accepts(self, medium: Probe) -> bool:
        """Return whether one of the encoders takes this medium."""
        kinds = (spec.kind for spec in self.specs if (medium.kind, spec.kind) in _CUTTERS)
        return any(kind != "audio" or medium.audio for kind in kinds)

    def run_batch(self, model: str, inputs: Inputs) -> Sequence[RecordFields]:
        """Return the vector of each row of a batch."""
        return [{"vector": vector} for vector in self.encode_batch(model, inputs)]

    def reducer(self) -> WindowMean | None:
        """Return a reducer to the mean of a source, if one record a source was chosen."""
        return WindowMean() if self.rows == "source" else None

    def encode_batch(self, model: str, inputs: Inputs) -> np.ndarray:
        """Return (B, dim) float32 vectors of prepared inputs; EncodeError if their width is not that of the spec."""
        vectors = self._encode_batch(model, inputs)
        self._models_run.add(model)
        return vectors

    def _encode_batch(self, model: str, inputs: Inputs) -> np.ndarray:
        encoder = self.get_encoder(next(spec for spec in self.specs if spec.name == model))
        vectors = encode_vectors(encoder, inputs)
        if vectors.shape[1:] != (encoder.spec.dim,):
            raise EncodeError(f"{model} gave vectors of shape {vectors.shape}, expected (B, {encoder.spec.dim})")
        return vectors

    def sum_directions(self, source: Source, medium: Probe, notes: list[str]) -> tuple[np.ndarray, int]:
        """Return the sum of the unit vectors of all windows, (D,) float64, and how many batches of windows there were.

        It is computed by the same code as the vectors of a job. The task must have one encoder.
        """
        total, batches = np.zeros(self.specs[0].dim), 0
        for batch in self.prepare_source(source, medium, notes):
            # float64, since float32 loses digits over the windows of hours.
            total += normalise(self.encode_batch(batch.model, batch.inputs)).sum(axis=0, dtype=np.float64)
            batches += 1
        return total, batches

    def min_decode_size(self, spec: Spec) -> int | None:
        """Return the shortest side in pixels to decode to; None: full size.

        It is twice the target, since decoding straight to the target makes the vectors drift (cosine 0.97).
        """
        return None if self.exact or not spec.size else 2 * spec.size

    def get_encoder(self, spec: Spec) -> Encoder:
        """Return the encoder, made once in this process."""
        if spec.name not in self._encoders:
            self._encoders[spec.name] = load_encoder(spec, runtime=self.runtimes.get(spec.name, "auto"))
        return self._encoders[spec.name]

    def rehearsals(self) -> Mapping[str, Callable[[], Sequence[RecordFields]]]:
        """Return, by encoder, what makes the vector of a made-up clip."""
        return {spec.name: partial(self._rehearse, spec) for spec in self.specs if spec.kind in CANARY_KINDS}

    def _rehearse(self, spec: Spec) -> Sequence[RecordFields]:
        with defer_choice():
            # Not encode_batch, which would count the rehearsal as a run of the model.
            return [{"vector": vector} for vector in self._encode_batch(spec.name, self.prepare_canary(spec))]

    def prepare_canary(self, spec: Spec) -> Inputs:
        """Return the inputs of one made-up clip of the kind that an encoder takes."""
        return self.get_encoder(spec).prepare([canary_clip(spec)])

    def graphs_used(self) -> dict[str, str]:
        """Return the digest of the graph that each model ran as; "" for those that need none."""
        return {name: find_graph_digest(self._encoders[name]) for name in self._models_run}

    def runtimes_used(self) -> dict[str, str]:
        """Return the runtime of each model that has run so far."""
        encoders = ((name, self._encoders[name]) for name in self._models_run)
        return {name: runtime for name, encoder in encoders if (runtime := getattr(encoder, "runtime", ""))}

    def with_runtimes(self, runtimes: Mapping[str, str]) -> Self:
        """Return the same task with its encoders on these runtimes, where none was chosen."""
        # The later one wins: that is what the user has chosen.
        return replace(self, runtimes={**runtimes, **self.runtimes})

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the encoders: each process makes its own."""
        return {**self.__dict__, "_encoders": {}, "_models_run": set()}


@accept_old_arguments(whole=OLD_WHOLE)
def embed_iter(
    source: Source,
    model: str,
    *,
    fps: float = 1.0,
    hop: float | None = None,
    tail: Tail = "pad",
    rows: Rows = "window",
) -> Iterator[VectorRecord]:
    """Yield the vectors of one source lazily, with no job around them: memory is one batch, not one video.

    Args:
        source: path or bytes. Of a video, an encoder of images gets the frames and one of audio gets the audio.
        model: the name of an encoder; `percepts.list_models` lists them.
        fps: frames a second taken from a video by an encoder of images.
        hop: seconds from the start of one audio window to the next; None: windows touch.
        tail: the last, shorter window: "pad" it with silence, "keep" it short, or "drop" it.
        rows: "window": a record for each window or frame; "source": one record, the mean of the windows, each weighted
            by its duration; `windows` of the record says how many there were.

    Raises:
        MediaError: the source cannot be used.
        TruncatedMedia: the source is damaged later on; raised after the records of its good part.

    >>> from percepts import embed_iter
    >>> [record.vector.shape for record in embed_iter("photo.jpg", "fake-image")]  # doctest: +SKIP
    [(8,)]
    """
    records = EmbedTask((model_spec(model),), fps=fps, hop=hop, tail=tail, rows=rows).iterate_records(source)
    return cast("Iterator[VectorRecord]", records)


def _decode_image(task: EmbedTask, source: Source, spec: Spec, notes: list[str]) -> Iterator[Clip]:
    with mark_stage("decode"):
        yield media.open_image(source, at_least=task.min_decode_size(spec))


def _decode_frames(task: EmbedTask, source: Source, spec: Spec, notes: list[str]) -> Iterator[Clip]:
    frames = media.stream_frames(source, fps=task.fps, at_least=task.min_decode_size(spec))
    # In a thread, so that the next frames are decoded while these are prepared.
    return prefetch(stop_at_damage(frames, notes))


def _cut_audio(task: EmbedTask, source: Source, spec: Spec, notes: list[str]) -> Iterator[Clip]:
    # Mixed before resampling, which then costs half of what two channels would.
    blocks = map(media.mix_to_mono, prefetch(stop_at_damage(media.stream_audio(source), notes)))
    return cut_fixed_windows(spec.window, task.hop, task.tail)(resample(blocks, int(spec.rate)))


def _cut_video(task: EmbedTask, source: Source, spec: Spec, notes: list[str]) -> Iterator[Clip]:
    frames = media.stream_frames(source, fps=spec.rate, at_least=task.min_decode_size(spec))
    return cut_fixed_windows(spec.window, task.hop, task.tail)(prefetch(stop_at_damage(frames, notes)))


_Cutter = Callable[[EmbedTask, Source, Spec, list[str]], Iterator[Clip]]
_CUTTERS: dict[tuple[Kind, Kind], _Cutter] = {
    ("image", "image"): _decode_image,
    ("video", "image"): _decode_frames,
    ("video", "video"): _cut_video,
    ("video", "audio"): _cut_audio,
    ("audio", "audio"): _cut_audio,
}
"""(kind of the source, kind that the encoder takes) → how to cut one for the other."""


def stop_at_damage(clips: Iterable[Clip], notes: list[str]) -> Iterator[Clip]:
    """Yield the good part of a damaged medium and end like any other; what is wrong goes into `notes`."""
    try:
        with mark_stage("decode"):
            yield from clips
    except TruncatedMedia as damage:
        notes.append(str(damage))


def _group_clips(clips: Iterable[Clip], size: int) -> Iterator[Sequence[Clip]]:
    stream = iter(clips)
    while group := list(islice(stream, size)):
        yield group
