"""Classify images, audio and video by the labels that a model was trained on, with scores and times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Self, Unpack

import numpy as np

from .. import media
from ..encoders import model_spec
from ..encoders.scores import scores_to_probabilities
from ..errors import WeightsError
from ..media import Probe, Source
from ..support.deprecated import accept_old_arguments
from ..types import Classifier, Clip, Inputs
from .base import PreparedBatch, mark_stage
from .embed import CutKeywords, EmbedTask
from .labelling import OLD_TASK, LabelResult, LabelTask

DEFAULT_MODEL = "effnet-lite0"
"""1000 labels of ImageNet; runs without a download."""

Sampling = Literal["windows", "uniform"]
"""Which frames of a video a classifier of videos sees: windows at the rate it was trained on, or as many frames as it
takes, spread evenly over the whole video."""


@dataclass(frozen=True)
class ClassifyTask(LabelTask):
    """The task of `percepts classify`; `create` returns one that is checked."""

    sampling: Sampling = "windows"

    name = "classify"

    @classmethod
    def create(
        cls,
        model: str = DEFAULT_MODEL,
        *,
        multi_label: bool | None = None,
        top_k: int | None = 5,
        window: float = 0.0,
        frames: Sampling = "windows",
        precision: str = "float32",
        **cut: Unpack[CutKeywords],
    ) -> Self:
        """Return the task for a model by name; the arguments and the errors are those of `classify`."""
        if frames not in ("windows", "uniform"):
            raise ValueError(f"expected frames to be windows or uniform, got {frames!r}")
        embed_task = EmbedTask((model_spec(model, window=window, precision=precision),), **cut)
        made = cls(embed_task, multi_label, top_k, sampling=frames)
        _ = made.classifier  # raises before any source is read if the model has no labels
        return made

    @property
    def classifier(self) -> Classifier:
        """The encoder, as what it also is. WeightsError where its weights hold no classifier."""
        encoder = self.encoder
        if not isinstance(encoder, Classifier) or not encoder.labels:
            raise WeightsError(
                f"{self.embed_task.specs[0].name} has no labels: its weights hold no classifier. Take a model whose "
                "config.json says …ForImageClassification, …ForAudioClassification or the like, or effnet-lite0; "
                "for labels of your own: percepts zero-shot"
            )
        return encoder

    @property
    def labels(self) -> Sequence[str]:
        """The classes that it was trained on."""
        return self.classifier.labels

    def compute_probabilities(self, inputs: Inputs) -> np.ndarray:
        """Return (B, labels) probabilities, by softmax or sigmoid."""
        multi = self.classifier.multi_label if self.multi_label is None else self.multi_label
        return scores_to_probabilities(self.classifier.logits(inputs), multi)

    def prepare_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch]:
        """Prepare all of a source; one window of evenly spread frames where "uniform" sampling was chosen."""
        if self.sampling == "uniform" and medium.kind == "video" and self.embed_task.specs[0].kind == "video":
            return self._prepare_evenly(source)
        return super().prepare_source(source, medium, notes)

    def _prepare_evenly(self, source: Source) -> Iterator[PreparedBatch]:
        spec = self.embed_task.specs[0]
        count = round(spec.window * spec.rate)
        with mark_stage("decode"):
            seconds = measure_duration(source)
            size = self.embed_task.min_decode_size(spec)
            # Cut off, since rounding can give one frame more at the very end.
            frames = list(islice(media.stream_frames(source, fps=count / seconds, at_least=size), count))
        if not frames:
            return
        data = np.concatenate([frame.data for frame in frames])
        with mark_stage("prepare"):
            # The clip claims the rate that the model was trained on; the true times stand in the span below.
            inputs = self.encoder.prepare([Clip(data, "video", spec.rate, source=frames[0].source)])
        yield PreparedBatch(spec.name, "video", ((frames[0].start, seconds),), inputs)


def measure_duration(source: Source) -> float:
    """Return the seconds of a video, to a tenth, by looking at its frames: what headers say is not always true."""
    # Small frames, since only their times count. 0.1 without any: the caller divides by the result.
    return max((frame.stop for frame in media.stream_frames(source, fps=10.0, at_least=16)), default=0.1)


@accept_old_arguments(task=OLD_TASK)
def classify(
    source: Source,
    *,
    model: str = DEFAULT_MODEL,
    multi_label: bool | None = None,
    top_k: int | None = 5,
    window: float = 0.0,
    frames: Sampling = "windows",
    precision: str = "float32",
    **cut: Unpack[CutKeywords],
) -> LabelResult:
    """Label an image, the frames of a video, or the windows of a video or audio file, by a classifier.

    Args:
        source: path or bytes.
        model: an encoder with labels: "effnet-lite0", or a Hugging Face model of the kind …ForImageClassification,
            …ForAudioClassification, …ForSequenceClassification (audio) or …ForVideoClassification.
        multi_label: True: several labels may be right, and each gets a score by itself; False: exactly one is right,
            and the scores add up to one. None: as problem_type of config.json says, else False.
        top_k: labels kept of each window; None: all.
        window: seconds of a window, for models that can have another than their own.
        frames: which frames of a video a classifier of videos sees: "windows" as long and as dense as it was trained
            on, or "uniform": as many frames as it takes, spread evenly over the whole video.
        precision: of Hugging Face models: "float32", "int8" on a CPU, "bfloat16" on a GPU.
        cut: `fps` (frames a second taken from a video by a classifier of images, 1.0), `hop` (seconds from one window
            to the next; None, the default: windows touch), `tail` (the last, shorter window: "pad", "keep" or "drop")
            and `exact` (decode large JPEGs at full size, False).

    Returns:
        The labels of all of it (`.overall`) and of every window (`.records`), and `.intervals()` when each holds.

    Raises:
        UnknownModel, WeightsError: there is no such model, or it has no labels.
        WrongMedium: the model does not take what the source is, such as audio for a classifier of images.
        FileNotFoundError, MediaError: the source cannot be used.

    >>> import percepts
    >>> percepts.classify("cat.png", top_k=3).overall.labels  # doctest: +SKIP
    ('tiger cat', 'Egyptian cat', 'tabby, tabby cat')
    """
    made = ClassifyTask.create(
        model, multi_label=multi_label, top_k=top_k, window=window, frames=frames, precision=precision, **cut
    )
    return made.run_one(source)
