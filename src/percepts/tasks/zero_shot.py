"""Choose between labels of the user's own for images, audio and video, with scores and times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self, Unpack

import numpy as np

from ..encoders import load_encoder, model_spec
from ..encoders.pooling import encode_vectors, normalise
from ..encoders.scores import LogitScale, ScoresText
from ..errors import LabelsError
from ..media import Source
from ..support.deprecated import accept_old_arguments
from ..types import Inputs, Spec, TextEncoder
from .base import RecordFields
from .embed import CutKeywords, EmbedTask
from .labelling import OLD_TASK, LabelResult, LabelTask, check_labels
from .settings import setting

DEFAULT_MODEL = "conse"
"""For images and video frames; runs without a download. For audio name a model, such as clap-fused."""


@dataclass(frozen=True)
class ZeroShotTask(LabelTask):
    """The task of `percepts zero-shot`; `create` returns one that is checked."""

    asked_labels: tuple[str, ...] = field(default=(), metadata=setting("labels"))
    templates: tuple[str, ...] = ("{}",)

    name = "zero-shot"

    @classmethod
    def create(
        cls,
        labels: Sequence[str],
        *,
        model: str = DEFAULT_MODEL,
        templates: Sequence[str] = (),
        multi_label: bool | None = None,
        top_k: int | None = None,
        precision: str = "float32",
        **cut: Unpack[CutKeywords],
    ) -> Self:
        """Return the task for labels and a model by name; the arguments and the errors are those of `zero_shot`."""
        labels = check_labels(labels)
        spec = model_spec(model, precision=precision)
        template, scale = load_text_comparison(spec)
        apply_label_mode(scale, multi_label)  # called for its error, before any source is read
        templates = check_templates(templates or (template,))
        return cls(EmbedTask((spec,), **cut), multi_label, top_k, asked_labels=labels, templates=templates)

    @property
    def labels(self) -> Sequence[str]:
        """The user's own labels."""
        return self.asked_labels

    def compute_probabilities(self, inputs: Inputs) -> np.ndarray:
        """Return (B, labels) probabilities, from cosines with the labels and the model's logit scale."""
        encoder = self.encoder
        assert isinstance(encoder, ScoresText)
        cosines = normalise(encode_vectors(encoder, inputs)) @ self._label_vectors.T
        return apply_label_mode(encoder.logit_scale, self.multi_label).probabilities(cosines)

    def _rehearse(self) -> Sequence[RecordFields]:
        _ = self._label_vectors  # every batch needs them and they are kept, so they are not made in a rehearsal
        return super()._rehearse()

    @cached_property
    def _label_vectors(self) -> np.ndarray:
        encoder = self.encoder
        assert isinstance(encoder, TextEncoder)
        return embed_labels(encoder, self.asked_labels, self.templates)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the labels' vectors: workers prepare media and have no use for them."""
        return {name: value for name, value in super().__getstate__().items() if name != "_label_vectors"}


def embed_labels(encoder: TextEncoder, labels: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """Return (N, D) unit vectors: for each label the mean direction over all templates (Radford et al. 2021, 3.1.4)."""
    # Not str.format: a label may hold braces. Templates outside, as the reshape below expects.
    texts = [template.replace("{}", label) for template in templates for label in labels]
    vectors = normalise(encoder.encode_text(texts)).reshape(len(templates), len(labels), -1)
    # One template gives unit vectors already; scaling them again could change the last bit.
    return normalise(vectors.mean(axis=0)) if len(templates) > 1 else vectors[0]


def apply_label_mode(scale: LogitScale, multi_label: bool | None) -> LogitScale:
    """Return the logit scale, used as chosen.

    Raises:
        LabelsError: each label is to be judged by itself, and the model was trained to choose between labels.
    """
    if multi_label and not scale.sigmoid:
        raise LabelsError(
            "this model was trained to choose between texts, so it cannot judge each by itself: take "
            "multi_label=False (--single-label), or a SigLIP model, which was trained to"
        )
    return scale if multi_label is None else LogitScale(scale.scale, scale.bias, multi_label)


def load_text_comparison(spec: Spec) -> tuple[str, LogitScale]:
    """Return the template and the logit scale of a model.

    Raises:
        LabelsError: the model reads no text, or its training says nothing about cosines between media and text.
    """
    encoder = load_encoder(spec)
    if not isinstance(encoder, TextEncoder) or not isinstance(encoder, ScoresText) or spec.kind == "text":
        raise LabelsError(
            f"{spec.name} does not compare {spec.kind} with text: take conse (images, no download), or a CLIP, SigLIP "
            "(images) or CLAP (audio) model, such as clip-b32 or clap-fused"
        )
    return encoder.template, encoder.logit_scale


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """Return the templates; LabelsError where one has no place for the label."""
    checked = check_labels(templates, "template")
    if bare := [template for template in checked if "{}" not in template]:
        raise LabelsError(f"expected {{}} in every template, where the label goes; got {bare[0]!r}")
    return checked


@accept_old_arguments(task=OLD_TASK)
def zero_shot(
    source: Source,
    labels: Sequence[str],
    *,
    model: str = DEFAULT_MODEL,
    templates: Sequence[str] = (),
    multi_label: bool | None = None,
    top_k: int | None = None,
    precision: str = "float32",
    **cut: Unpack[CutKeywords],
) -> LabelResult:
    """Score labels of the user's own for an image, each frame of a video, or each window of an audio file.

    Args:
        source: path or bytes.
        labels: what to choose from, each once.
        model: an encoder of media and text into one space: "conse" for images without a download; CLIP and SigLIP for
            images, CLAP for audio, from Hugging Face.
        templates: words around the label, {} for the label itself; with several, the label is their mean. Without any:
            the model's own, such as "a photo of {}".
        multi_label: True: several labels may be right, and each gets a score by itself, which only SigLIP was trained
            for; False: exactly one is right, and the scores add up to one. None: as the model was trained.
        top_k: labels kept of each window; None: all.
        precision: of Hugging Face models: "float32", "int8" on a CPU, "bfloat16" on a GPU.
        cut: `fps` (frames a second taken from a video, 1.0), `hop` (seconds from one audio window to the next; None,
            the default: windows touch), `tail` (the last, shorter window: "pad", "keep" or "drop") and `exact` (decode
            large JPEGs at full size, False).

    Returns:
        The labels of all of it (`.overall`) and of every window (`.records`), and `.intervals()` when each holds.

    Raises:
        LabelsError: no labels, a blank one, one twice; a template without {}; a model that reads no text, or that was
            not trained to judge as chosen.
        UnknownModel, WeightsError: there is no such model, or its weights cannot be had.
        WrongMedium: the model does not take what the source is.
        FileNotFoundError, MediaError: the source cannot be used.

    >>> import percepts
    >>> percepts.zero_shot("cat.png", ["a cat", "a dog", "a rocket"]).overall.labels[0]  # doctest: +SKIP
    'a cat'
    """
    made = ZeroShotTask.create(
        labels, model=model, templates=templates, multi_label=multi_label, top_k=top_k, precision=precision, **cut
    )
    return made.run_one(source)
