"""A picture, recording or film in, and labels of the user's own; how likely each is out, with its times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..encoders import load_encoder
from ..encoders import model_spec as find
from ..encoders.pooling import encode_vectors, normalise
from ..encoders.scores import LogitScale, ScoresText
from ..errors import LabelsError
from ..media import Source
from ..types import Inputs, Spec, TextEncoder
from ..windows import Tail
from .base import RecordFields
from .embed import EmbedTask
from .labelling import LabelMode, LabelResult, LabelTask, check_labels
from .settings import setting

DEFAULT_MODEL = "conse"
"""Pictures and film frames; needs no hub. For sound name one, such as clap-fused."""


@dataclass(frozen=True)
class ZeroShotTask(LabelTask):
    """The task of `percepts zero-shot`; `choosing` makes one that is checked."""

    asked_labels: tuple[str, ...] = field(default=(), metadata=setting("labels"))
    templates: tuple[str, ...] = ("{}",)

    name = "zero-shot"

    @property
    def labels(self) -> Sequence[str]:
        """The user's own."""
        return self.asked_labels

    def probabilities(self, inputs: Inputs) -> np.ndarray:
        """(B, labels): cosines with the labels, by the model's temperature."""
        encoder = self.encoder
        assert isinstance(encoder, ScoresText)
        cosines = normalise(encode_vectors(encoder, inputs)) @ self._directions.T
        return apply_label_mode(encoder.logit_scale, self.judged).probabilities(cosines)

    def _rehearse(self) -> Sequence[RecordFields]:
        _ = self._directions  # as any batch will need them: kept, so not made in a rehearsal
        return super()._rehearse()

    @cached_property
    def _directions(self) -> np.ndarray:
        encoder = self.encoder
        assert isinstance(encoder, TextEncoder)
        return embed_labels(encoder, self.asked_labels, self.templates)

    def __getstate__(self) -> dict[str, Any]:
        """Travels to workers without the labels' vectors: they are of no use there."""
        return {name: value for name, value in super().__getstate__().items() if name != "_directions"}


def embed_labels(encoder: TextEncoder, labels: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """(N, D) of length one: of each label the mean direction over all templates (Radford et al. 2021, 3.1.4)."""
    texts = [template.replace("{}", label) for template in templates for label in labels]
    vectors = normalise(encoder.encode_text(texts)).reshape(len(templates), len(labels), -1)
    return normalise(vectors.mean(axis=0)) if len(templates) > 1 else vectors[0]


def apply_label_mode(temperature: LogitScale, task: LabelMode | None) -> LogitScale:
    """The temperature, used as asked. LabelsError where a model that was trained to compare is to judge one by one."""
    if task == "multi" and not temperature.sigmoid:
        raise LabelsError(
            "this model was trained to choose between texts, so it cannot judge each by itself: take task single, "
            "or a SigLIP checkpoint, which was trained to"
        )
    return temperature if task is None else LogitScale(temperature.scale, temperature.bias, task == "multi")


def choosing(
    labels: Sequence[str],
    *,
    model: str = DEFAULT_MODEL,
    templates: Sequence[str] = (),
    task: LabelMode | None = None,
    top_k: int | None = None,
    fps: float = 1.0,
    hop: float | None = None,
    tail: Tail = "pad",
    exact: bool = False,
    precision: str = "float32",
) -> ZeroShotTask:
    """The task that `zero_shot` runs over one source and a job over many; the arguments are those of `zero_shot`."""
    found = check_labels(labels)
    row = find(model, precision=precision)
    template, temperature = load_text_comparison(row)
    apply_label_mode(temperature, task)
    cut = EmbedTask((row,), fps=fps, hop=hop, tail=tail, exact=exact)
    return ZeroShotTask(cut, task, top_k, asked_labels=found, templates=check_templates(templates or (template,)))


def load_text_comparison(row: Spec) -> tuple[str, LogitScale]:
    """The template and temperature of a model; LabelsError where it knows no text, or not what cosines with it mean."""
    encoder = load_encoder(row)
    if not isinstance(encoder, TextEncoder) or not isinstance(encoder, ScoresText) or row.kind == "text":
        raise LabelsError(
            f"{row.name} does not compare {row.kind} with text: take conse (pictures, no hub), or a CLIP, SigLIP "
            "(pictures) or CLAP (sound) checkpoint, such as clip-b32 or clap-fused"
        )
    return encoder.template, encoder.logit_scale


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """The templates; LabelsError where one has no place for the label."""
    found = check_labels(templates, "template")
    if bare := [template for template in found if "{}" not in template]:
        raise LabelsError(f"expected {{}} in every template, where the label goes; got {bare[0]!r}")
    return found


def zero_shot(
    source: Source,
    labels: Sequence[str],
    *,
    model: str = DEFAULT_MODEL,
    templates: Sequence[str] = (),
    task: LabelMode | None = None,
    top_k: int | None = None,
    fps: float = 1.0,
    hop: float | None = None,
    tail: Tail = "pad",
    exact: bool = False,
    precision: str = "float32",
) -> LabelResult:
    """Which of the user's own labels fits a picture, each frame of a film, or each window of a recording.

    Args:
        source: path or bytes.
        labels: what to choose from, each once.
        model: an encoder of media and text into one space: "conse" for pictures with no hub; CLIP, SigLIP for pictures
            and CLAP for sound from the hub.
        templates: words around the label, {} for the label itself; of several, the label is the mean. None given: the
            model's own, such as "a photo of {}".
        task: "single", one label is right and scores add up to one; "multi", each is judged by itself, which only
            SigLIP was trained for. None: as the model was trained.
        top_k: labels kept of each window; None: all.
        fps: frames a second taken from a film.
        hop: seconds from one window of sound to the next; None: windows touch.
        tail: what becomes of the last, shorter window: "pad", "keep" or "drop".
        exact: decode large JPEGs at full size.
        precision: of checkpoints: "float32", "int8" on a CPU, "bfloat16" on a GPU.

    Returns:
        The labels of the whole (`.whole`) and of every window (`.records`), and `.intervals()` when each holds.

    Raises:
        LabelsError: no labels, a blank one, one twice; a template without {}; a model that knows no text, or was not
            trained to judge as asked.
        UnknownModel, WeightsError: no such model, or its weights are not to be had.
        WrongMedium: the model does not take what this is.
        FileNotFoundError, MediaError: the source cannot be used.

    >>> import percepts
    >>> percepts.zero_shot("cat.png", ["a cat", "a dog", "a rocket"]).whole.labels[0]  # doctest: +SKIP
    'a cat'
    """
    made = choosing(
        labels, model=model, templates=templates, task=task, top_k=top_k, fps=fps, hop=hop, tail=tail, exact=exact,
        precision=precision,
    )  # fmt: skip
    return made.run_one(source)
