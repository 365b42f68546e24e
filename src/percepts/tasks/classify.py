"""A picture, recording or film in, the labels of a classifier out, with their scores and times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from .. import media
from ..encoders import model_spec as find
from ..encoders.scores import scores_to_probabilities
from ..errors import WeightsError
from ..media import Probe, Source
from ..types import Classifier, Clip, Inputs
from ..windows import Tail
from .base import PreparedBatch, mark_stage
from .embed import EmbedTask
from .labelling import LabelMode, LabelResult, LabelTask

DEFAULT_MODEL = "effnet-lite0"
"""1000 labels of ImageNet; needs no hub."""

Sampling = Literal["windows", "uniform"]
"""Which frames of a film a classifier of films sees: windows at the rate it was trained on, or as many frames as it
takes, spread evenly over the whole film."""


@dataclass(frozen=True)
class ClassifyTask(LabelTask):
    """The task of `percepts classify`; `classification` makes one that is checked."""

    sampling: Sampling = "windows"

    name = "classify"

    @property
    def classifier(self) -> Classifier:
        """The encoder, as what it also is. WeightsError where its weights hold no classifier."""
        encoder = self.encoder
        if not isinstance(encoder, Classifier) or not encoder.labels:
            raise WeightsError(
                f"{self.embed_task.specs[0].name} has no labels: its weights hold no classifier. Take a checkpoint "
                "whose config.json says …ForImageClassification, …ForAudioClassification or the like, or effnet-lite0; "
                "for labels of your own: percepts zero-shot"
            )
        return encoder

    @property
    def labels(self) -> Sequence[str]:
        """Its classes."""
        return self.classifier.labels

    def probabilities(self, inputs: Inputs) -> np.ndarray:
        """(B, labels), by softmax or sigmoid."""
        multi = self.classifier.multi_label if self.judged is None else self.judged == "multi"
        return scores_to_probabilities(self.classifier.logits(inputs), multi)

    def prepare_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch]:
        """All of a source, prepared; one window of frames, spread evenly, where that was asked."""
        if self.sampling == "uniform" and medium.kind == "video" and self.embed_task.specs[0].kind == "video":
            return self._prepare_evenly(source)
        return super().prepare_source(source, medium, notes)

    def _prepare_evenly(self, source: Source) -> Iterator[PreparedBatch]:
        spec = self.embed_task.specs[0]
        count = round(spec.window * spec.rate)
        with mark_stage("decode"):
            seconds = measure_duration(source)
            fps = count / seconds
            frames = list(
                islice(media.stream_frames(source, fps=fps, at_least=self.embed_task.min_decode_size(spec)), count)
            )
        if not frames:
            return
        data = np.concatenate([frame.data for frame in frames])
        with mark_stage(
            "prepare"
        ):  # as the rate it was trained on: what it sees is evenly spread, its true times are below
            inputs = self.encoder.prepare([Clip(data, "video", spec.rate, source=frames[0].source)])
        yield PreparedBatch(spec.name, "video", ((frames[0].start, seconds),), inputs)


def measure_duration(source: Source) -> float:
    """Seconds of a film, to a tenth, by looking at its frames: what headers say is not always so."""
    return max((frame.stop for frame in media.stream_frames(source, fps=10.0, at_least=16)), default=0.1)


def classification(
    model: str = DEFAULT_MODEL,
    *,
    task: LabelMode | None = None,
    top_k: int | None = 5,
    fps: float = 1.0,
    hop: float | None = None,
    window: float = 0.0,
    tail: Tail = "pad",
    frames: Sampling = "windows",
    exact: bool = False,
    precision: str = "float32",
) -> ClassifyTask:
    """The task that `classify` runs over one source and a job over many; the arguments are those of `classify`."""
    if frames not in ("windows", "uniform"):
        raise ValueError(f"expected frames to be windows or uniform, got {frames!r}")
    cut = EmbedTask((find(model, window=window, precision=precision),), fps=fps, hop=hop, tail=tail, exact=exact)
    made = ClassifyTask(cut, task, top_k, sampling=frames)
    _ = made.classifier  # says so if it has no labels
    return made


def classify(
    source: Source,
    *,
    model: str = DEFAULT_MODEL,
    task: LabelMode | None = None,
    top_k: int | None = 5,
    fps: float = 1.0,
    hop: float | None = None,
    window: float = 0.0,
    tail: Tail = "pad",
    frames: Sampling = "windows",
    exact: bool = False,
    precision: str = "float32",
) -> LabelResult:
    """What a classifier calls a picture, the frames of a film, or the windows of a film or a recording.

    Args:
        source: path or bytes.
        model: an encoder with labels: "effnet-lite0", or a checkpoint of a …ForImageClassification,
            …ForAudioClassification, …ForSequenceClassification (sound) or …ForVideoClassification.
        task: "single", one label is right and scores add up to one; "multi", each is judged by itself. None: as
            config.json's problem_type says, and single where it does not. Nothing keeps it for the next call.
        top_k: labels kept of each window; None: all.
        fps: frames a second taken from a film by a classifier of pictures.
        hop: seconds from one window to the next; None: windows touch.
        window: seconds of a window, for checkpoints that can have another than their own.
        tail: what becomes of the last, shorter window: "pad", "keep" or "drop".
        frames: of a film, for a classifier of films: "windows" as long and as dense as it was trained on, or "uniform",
            as many frames as it takes spread evenly over the whole film.
        exact: decode large JPEGs at full size.
        precision: of checkpoints: "float32", "int8" on a CPU, "bfloat16" on a GPU.

    Returns:
        The labels of the whole (`.whole`) and of every window (`.records`), and `.intervals()` when each holds.

    Raises:
        UnknownModel, WeightsError: no such model, or it has no labels.
        WrongMedium: the model does not take what this is, a recording for a classifier of pictures.
        FileNotFoundError, MediaError: the source cannot be used.

    >>> import percepts
    >>> percepts.classify("cat.png", top_k=3).whole.labels  # doctest: +SKIP
    ('tiger cat', 'Egyptian cat', 'tabby, tabby cat')
    """
    made = classification(
        model, task=task, top_k=top_k, fps=fps, hop=hop, window=window, tail=tail, frames=frames, exact=exact,
        precision=precision,
    )  # fmt: skip
    return made.run_one(source)
