"""A picture or a film in, captions out: of the picture, or of its frames with their times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import WrongMedium
from ..media import Probe, Source, probe
from ..runtimes import defer_choice
from ..runtimes.network import split_batch
from ..types import Inputs, Record, Spec
from ..vlm.families import CAPTION, refresh_spec, resolve_model
from ..vlm.generation import GenerationOptions
from . import base as tasks
from .base import PreparedBatch, RecordFields
from .embed import EmbedTask
from .settings import inline, read_arguments, to_settings

if TYPE_CHECKING:
    from ..vlm.captioning import Captioner

TEXTS_PER_BATCH = 8
"""Texts written side by side: each step keeps a number for every token of the vocabulary."""


@dataclass(frozen=True)
class CaptionTask:
    """The task of `percepts caption`; `job` makes one that is checked.

    cut      how media is cut: pictures whole, films by frames
    options  how text is generated
    prefix   what every caption begins with
    prompt   what a chat model is asked to do; "" for the others
    """

    embed_task: EmbedTask = field(metadata=inline(EmbedTask))
    options: GenerationOptions = field(metadata=inline(GenerationOptions))
    prefix: str = ""
    prompt: str = ""

    name = "caption"

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One table, without vectors."""
        return self.embed_task.specs

    def settings(self) -> dict[str, Any]:
        """Everything that changes a caption, as JSON: the fingerprint of a job."""
        return {"task": self.name, **to_settings(self)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], specs: Sequence[Spec]) -> CaptionTask:
        """Make the task that `settings()` speaks of, from the Specs that its directory holds; see `Repairable`."""
        return cls(**read_arguments(cls, settings, [refresh_spec(spec, CAPTION) for spec in specs]))

    def prepare_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch]:
        """All of a source, prepared; damage at its end goes into `notes`."""
        return self.embed_task.prepare_source(source, medium, notes)

    def explain_empty(self, medium: Probe) -> str:
        """Why a sound medium gave no caption."""
        return f"{self.embed_task.explain_empty(medium)}; captions are of pictures and films"

    def run_batch(self, model: str, inputs: Inputs) -> Sequence[RecordFields]:
        """A caption for each row of a batch."""
        captioner: Captioner = self.embed_task.encoder(self.specs[0])  # type: ignore[assignment]  # an encoder of text
        return [
            {"text": text.text, "score": text.score}
            for part in split_batch(inputs, TEXTS_PER_BATCH)
            for text in captioner.caption(part, self.options, prefix=self.prefix, prompt=self.prompt)
        ]

    def rehearsals(self) -> Mapping[str, Callable[[], Sequence[RecordFields]]]:
        """Return what writes the first word about a made-up picture."""
        return {self.specs[0].name: self._rehearse}

    def _rehearse(self) -> Sequence[RecordFields]:
        spec, brief = self.specs[0], replace(self, options=replace(self.options, max_new_tokens=1))
        inputs = self.embed_task.canary(spec)
        with defer_choice():
            return brief.run_batch(spec.name, inputs)


def job(
    model: str,
    options: GenerationOptions | None = None,
    *,
    prefix: str = "",
    prompt: str = "",
    fps: float = 1.0,
    precision: str = "float32",
) -> CaptionTask:
    """The task that `caption` runs over one source and a job over many; the arguments are those of `caption`."""
    cut = EmbedTask((resolve_model(model, CAPTION, precision=precision),), fps=fps, exact=True)
    return CaptionTask(cut, options or GenerationOptions(), prefix.strip(), prompt.strip())


def caption(
    source: Source,
    *,
    model: str,
    prefix: str = "",
    prompt: str = "",
    fps: float = 1.0,
    precision: str = "float32",
    max_new_tokens: int = 50,
    num_beams: int | None = None,
    length_penalty: float | None = None,
    repetition_penalty: float | None = None,
    no_repeat_ngram_size: int | None = None,
) -> list[Record]:
    """Say what a picture shows, or each frame of a film: one record a frame, `text` and `score`, with its times.

    Args:
        source: path or bytes of a picture or a film.
        model: a hub id or the folder of a checkpoint: BLIP, GIT, a vision encoder-decoder such as ViT-GPT2, or a chat
            model that sees (LLaVA, Idefics3, SmolVLM, Qwen2-VL, Qwen2.5-VL, and others with a chat template).
        prefix: the caption begins with it, and the model goes on from there: "a photo of".
        prompt: what a chat model is asked; "" for "Describe this picture in one sentence."
        fps: frames a second taken from a film.
        precision: "float32", "bfloat16" or "float16": of the weights and the arithmetic.
        max_new_tokens: tokens written at most, the prefix not counted.
        num_beams: beams kept side by side; of this and the next three None is what the checkpoint's own settings say,
            and nothing is sampled whatever they say.
        length_penalty: with beams, above 0 favours long texts.
        repetition_penalty: above 1 makes what is there already less likely.
        no_repeat_ngram_size: no run of so many tokens comes twice.

    Returns:
        Records whose `score` is the geometric mean of the probabilities of the tokens written.

    Raises:
        UnknownModel: no model of that name, or none that writes captions.
        WrongMedium: a recording of sound; MediaError: it cannot be used.
        TruncatedMedia: a film that is damaged later on; a job keeps what came before.
        QuestionError: a prompt for a model that follows none, or a text too long for it.

    >>> import percepts
    >>> percepts.caption("photo.jpg", model="Salesforce/blip-image-captioning-base")[0].text  # doctest: +SKIP
    'a cup of coffee on a wooden table'
    """
    options = GenerationOptions(max_new_tokens, num_beams, length_penalty, repetition_penalty, no_repeat_ngram_size)
    return of_one(job(model, options, prefix=prefix, prompt=prompt, fps=fps, precision=precision), source)


def of_one(task: Any, source: Source) -> list[Record]:
    """What a task says of one source; WrongMedium where it says nothing."""
    found = list(tasks.records(task, source))
    if not found:
        raise WrongMedium(
            f"{source if not isinstance(source, bytes) else 'the bytes'} {task.explain_empty(probe(source))}"
        )
    return found
