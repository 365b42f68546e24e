"""Caption images and the frames of videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self, Unpack

from ..media import Probe, Source
from ..runtimes import defer_choice
from ..runtimes.network import split_batch
from ..types import Inputs, Record, Spec
from ..vlm.families import CAPTION, refresh_spec, resolve_model
from ..vlm.generation import GenerationKeywords, GenerationOptions
from .base import BatchedTask, PreparedBatch, RecordFields
from .embed import EmbedTask
from .settings import inline

if TYPE_CHECKING:
    from ..vlm.captioning import Captioner

TEXTS_PER_BATCH = 8
"""Texts written side by side: each step keeps a number for every token of the vocabulary for each of them."""


@dataclass(frozen=True)
class CaptionTask(BatchedTask):
    """The task of `percepts caption`; `create` returns one that is checked.

    embed_task   how media is cut: images whole, videos by frames
    options      how text is generated
    prefix       the beginning of every caption
    prompt       what a chat model is asked to do; "" for other models
    """

    embed_task: EmbedTask = field(metadata=inline(EmbedTask))
    options: GenerationOptions = field(metadata=inline(GenerationOptions))
    prefix: str = ""
    prompt: str = ""

    name = "caption"

    @classmethod
    def create(
        cls,
        model: str,
        options: GenerationOptions | None = None,
        *,
        prefix: str = "",
        prompt: str = "",
        fps: float = 1.0,
        precision: str = "float32",
    ) -> Self:
        """Return the task for a model by name; the arguments and the errors are those of `caption`."""
        embed_task = EmbedTask((resolve_model(model, CAPTION, precision=precision),), fps=fps, exact=True)
        return cls(embed_task, options or GenerationOptions(), prefix.strip(), prompt.strip())

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One table, without vectors."""
        return self.embed_task.specs

    @classmethod
    def update_specs(cls, specs: Sequence[Spec]) -> Sequence[Spec]:
        """Return stored specs as this release knows them."""
        return [refresh_spec(spec, CAPTION) for spec in specs]

    def prepare_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch]:
        """Prepare all of a source; damage at its end goes into `notes`."""
        return self.embed_task.prepare_source(source, medium, notes)

    def explain_empty(self, medium: Probe) -> str:
        """Return why a readable source gave no caption."""
        return f"{self.embed_task.explain_empty(medium)}; captions are of images and videos"

    def run_batch(self, model: str, inputs: Inputs) -> Sequence[RecordFields]:
        """Return a caption for each row of a batch."""
        captioner: Captioner = self.embed_task.get_encoder(self.specs[0])  # type: ignore[assignment]  # writes text
        return [
            {"text": text.text, "score": text.score}
            for part in split_batch(inputs, TEXTS_PER_BATCH)
            for text in captioner.caption(part, self.options, prefix=self.prefix, prompt=self.prompt)
        ]

    def rehearsals(self) -> Mapping[str, Callable[[], Sequence[RecordFields]]]:
        """Return what writes the first word about a made-up image."""
        return {self.specs[0].name: self._rehearse}

    def _rehearse(self) -> Sequence[RecordFields]:
        # One token is enough: the first one already runs every part of the model.
        spec, brief = self.specs[0], replace(self, options=replace(self.options, max_new_tokens=1))
        inputs = self.embed_task.prepare_canary(spec)
        with defer_choice():
            return brief.run_batch(spec.name, inputs)


def caption(
    source: Source,
    *,
    model: str,
    prefix: str = "",
    prompt: str = "",
    fps: float = 1.0,
    precision: str = "float32",
    **generation: Unpack[GenerationKeywords],
) -> list[Record]:
    """Caption an image, or each frame of a video: a record for each frame, with `text`, `score` and its times.

    Args:
        source: path or bytes of an image or a video.
        model: a Hugging Face model or the folder of one: BLIP, GIT, a vision encoder-decoder such as ViT-GPT2, or a
            chat model that sees (LLaVA, Idefics3, SmolVLM, Qwen2-VL, Qwen2.5-VL, and others with a chat template).
        prefix: the beginning of the caption, from which the model continues: "a photo of".
        prompt: what a chat model is asked; "" for "Describe this picture in one sentence."
        fps: frames a second taken from a video.
        precision: of the weights and the arithmetic: "float32", "bfloat16" or "float16".
        generation: `max_new_tokens` (tokens written at most, the prefix not counted; 50), `num_beams` (beams kept side
            by side), `length_penalty` (with beams, above 0 favours long texts), `repetition_penalty` (above 1 makes
            tokens that are there already less likely) and `no_repeat_ngram_size` (no run of so many tokens comes
            twice). None, the default of the last four: as the model's own settings say. Nothing is sampled.

    Returns:
        Records whose `score` is the geometric mean of the probabilities of the tokens written.

    Raises:
        UnknownModel: there is no model of that name, or it writes no captions.
        WrongMedium: the source is audio; MediaError: it cannot be used.
        TruncatedMedia: the video is damaged later on; a job keeps what came before.
        QuestionError: a prompt for a model that follows none, or a text too long for it.

    >>> import percepts
    >>> percepts.caption("photo.jpg", model="Salesforce/blip-image-captioning-base")[0].text  # doctest: +SKIP
    'a cup of coffee on a wooden table'
    """
    options = GenerationOptions(**generation)
    task = CaptionTask.create(model, options, prefix=prefix, prompt=prompt, fps=fps, precision=precision)
    records: list[Record] = task.run_one(source)
    return records
