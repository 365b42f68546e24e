"""Answer questions about images, pages, videos and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np

from .. import media
from ..errors import QuestionError
from ..media import Probe, Source
from ..media.source import source_path
from ..runtimes import defer_choice
from ..runtimes.network import split_batch
from ..types import Clip, Inputs, Spec
from ..vlm.families import ASK, ASK_DOCUMENT, CHAT_TARGET, refresh_spec, resolve_model
from ..vlm.generation import GenerationKeywords, GenerationOptions
from ..vlm.tables.table import is_table
from .answers import Answer, check_questions
from .ask_table import ask_table
from .base import BatchedTask, PreparedBatch, RecordFields
from .caption import TEXTS_PER_BATCH
from .embed import EmbedTask, stop_at_damage
from .settings import inline

if TYPE_CHECKING:
    from ..vlm.vqa import Answerer

CHAT_FRAMES = 8
"""Frames of a video that a chat model is shown where no other number is chosen."""
MAX_NEW_TOKENS = 128


@dataclass(frozen=True)
class AskTask(BatchedTask):
    """The task of `percepts ask`; `create` returns one that is checked.

    embed_task   how media is cut: images whole, videos by frames
    options      how text is generated
    questions    each is put to each image; a record each, the question as its label
    frames       of a video, shown together for one answer; 0: a single frame at a time
    """

    embed_task: EmbedTask = field(metadata=inline(EmbedTask))
    options: GenerationOptions = field(metadata=inline(GenerationOptions))
    questions: tuple[str, ...]
    frames: int = 0

    name = "ask"

    @classmethod
    def create(
        cls,
        questions: str | Sequence[str],
        model: str,
        options: GenerationOptions | None = None,
        *,
        fps: float | None = None,
        frames: int | None = None,
        precision: str = "float32",
    ) -> Self:
        """Return the task for questions and a model by name; the arguments and the errors are those of `ask`."""
        spec = resolve_model(model, ASK, ASK_DOCUMENT, precision=precision)
        # By its name alone, so that no model code is imported to check an option.
        is_chat = spec.target.endswith(CHAT_TARGET)
        if fps is not None and frames is not None:
            raise QuestionError("expected fps (an answer a frame) or frames (one answer of them all), got both")
        if frames is not None and (not is_chat or frames < 1):
            raise QuestionError(f"expected frames of at least 1 and a chat model, got {frames} and {spec.name}")
        together = (frames or CHAT_FRAMES) if is_chat and fps is None else 0
        embed_task = EmbedTask((spec,), fps=fps or 1.0, exact=True)
        return cls(embed_task, options or GenerationOptions(MAX_NEW_TOKENS), check_questions(questions), together)

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One table, without vectors."""
        return self.embed_task.specs

    @property
    def model(self) -> Answerer:
        """The model, made once in this process."""
        return self.embed_task.get_encoder(self.specs[0])  # type: ignore[return-value]  # it answers in words

    @classmethod
    def update_specs(cls, specs: Sequence[Spec]) -> Sequence[Spec]:
        """Return stored specs as this release knows them."""
        return [refresh_spec(spec, ASK, ASK_DOCUMENT) for spec in specs]

    def prepare_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch]:
        """Prepare all of a source, once for each question."""
        together = self.frames and medium.kind == "video"
        cut = self._prepare_video(source, notes) if together else self.embed_task.prepare_source(source, medium, notes)
        for batch in cut:
            for number in range(len(self.questions)):
                # A number and not the text: inputs hold arrays alone.
                question = np.full(len(batch.spans), number, np.int64)
                yield replace(batch, inputs={**batch.inputs, "question": question})

    def explain_empty(self, medium: Probe) -> str:
        """Return why a readable source gave no answer."""
        return f"{self.embed_task.explain_empty(medium)}; questions are put to images, pages, videos and tables"

    def run_batch(self, model: str, inputs: Inputs) -> Sequence[RecordFields]:
        """Return an answer for each row of a batch; rows of several questions may share it."""
        # The models do not know this input.
        images = {name: array for name, array in inputs.items() if name != "question"}
        answers: dict[int, RecordFields] = {}
        # One question at a time: `answer` takes one for all images of a call.
        for number in np.unique(inputs["question"]):
            rows, question = np.flatnonzero(inputs["question"] == number), self.questions[int(number)]
            part = {name: array[rows] for name, array in images.items()}
            texts = [
                t for few in split_batch(part, TEXTS_PER_BATCH) for t in self.model.answer(few, question, self.options)
            ]
            for row, text in zip(map(int, rows), texts, strict=True):
                answers[row] = {"text": text.text, "score": text.score, "labels": (question,), "box": text.box}
        return [answers[row] for row in range(len(inputs["question"]))]

    def run_one(self, source: Source) -> list[Answer]:
        """Return the answers about one source, in the order of the video, and of the questions for each moment."""
        return [Answer.from_record(record) for record in super().run_one(source)]

    def answer_page(self, source: Source, words: Sequence[Any]) -> list[Answer]:
        """Return the answers about a page whose words are known; QuestionError for a model that takes no words."""
        from ..vlm.documents.layoutlm import LayoutLM
        from ..vlm.documents.page import parse_words

        if not isinstance(self.model, LayoutLM):
            raise QuestionError(f"{self.specs[0].name} reads the image and takes no words; leave them out")
        page = self.model.prepare_page(media.open_image(source).data[0], parse_words(words))
        batches = (
            # An image has no duration: both times are 0.
            PreparedBatch(self.specs[0].name, "image", ((0.0, 0.0),), {**page, "question": np.array([number])})
            for number in range(len(self.questions))
        )
        records = (record for batch in batches for record in self.records_of_batch(batch, source_path(source)))
        return [Answer.from_record(record) for record in records]

    def rehearsals(self) -> Mapping[str, Callable[[], Sequence[RecordFields]]]:
        """Return what writes the first word of an answer about a made-up image."""
        return {self.specs[0].name: self._rehearse}

    def _rehearse(self) -> Sequence[RecordFields]:
        # One token is enough: the first one already runs every part of the model.
        spec, brief = self.specs[0], replace(self, options=replace(self.options, max_new_tokens=1))
        from ..vlm.documents.layoutlm import LayoutLM
        from ..vlm.documents.page import parse_words

        if isinstance(self.model, LayoutLM):  # a made-up page, since no OCR finds a word in a made-up image
            page = np.full((32, 32, 3), 255, np.uint8)
            inputs = self.model.prepare_page(page, parse_words([("word", (0.0, 0.0, 16.0, 16.0))]))
        else:
            inputs = self.embed_task.prepare_canary(spec)
        with defer_choice():
            return brief.run_batch(spec.name, {**inputs, "question": np.zeros(1, np.int64)})

    def _prepare_video(self, source: Source, notes: list[str]) -> Iterator[PreparedBatch]:
        """Yield one row of frames spread over the whole video."""
        # Two frames a second are enough to choose a handful from, and keep a long video cheap to decode.
        frames = pick_evenly(stop_at_damage(media.stream_frames(source, fps=2.0), notes), self.frames)
        if frames:
            pixels = np.concatenate([frame.data for frame in frames])[None]  # (1, frames, h, w, 3)
            yield PreparedBatch(self.specs[0].name, "video", ((frames[0].start, frames[-1].stop),), {"pixels": pixels})


def pick_evenly(frames: Iterable[Clip], count: int) -> list[Clip]:
    """Return `count` frames spread evenly from the first to the last, or all of them where there are fewer.

    In one pass and in the memory of twice as many: when more have come, every second one is dropped, and from then on
    only half as many are taken.

    >>> video = [Clip(np.zeros((1, 2, 2, 3), np.uint8), "video", 1.0, float(k)) for k in range(100)]
    >>> [frame.start for frame in pick_evenly(video, 4)]
    [0.0, 32.0, 64.0, 96.0]
    """
    picked: list[Clip] = []
    stride = 1
    for number, frame in enumerate(frames):
        if number % stride == 0:
            picked.append(frame)
        if len(picked) > 2 * count:
            picked, stride = picked[::2], 2 * stride
    indices = sorted({round(i) for i in np.linspace(0, len(picked) - 1, min(count, len(picked)))}) if picked else []
    return [picked[i] for i in indices]


def ask(
    source: Any,
    question: str | Sequence[str],
    *,
    model: str,
    words: Sequence[Any] | None = None,
    fps: float | None = None,
    frames: int | None = None,
    precision: str = "float32",
    **generation: Unpack[GenerationKeywords],
) -> Sequence[Answer]:
    """Answer questions about an image, a page, a video or a table.

    Args:
        source: path or bytes of an image, a page (an image too) or a video; or a table, which `ask_table` answers.
        question: one, or several: an answer each.
        model: a Hugging Face model or the folder of one. For images BLIP, ViLT or GIT; for pages LayoutLM, LayoutLMv3
            or Donut; for tables TAPAS; and for images, pages and videos a chat model that sees.
        words: of a page, for LayoutLM: (text, (left, top, right, bottom)) in pixels of the page, in the order of
            reading. None: they are read by OCR, which needs percepts[ocr]. The models' grid of 0..1000 is made of them.
        fps: an answer for each frame of a video, so many a second.
        frames: one answer of so many frames, spread evenly over the video: chat models only, which do so by default,
            with 8.
        precision: "float32", "bfloat16" or "float16".
        generation: `max_new_tokens` (tokens of an answer at most, for models that write; 128), `num_beams`,
            `length_penalty`, `repetition_penalty` and `no_repeat_ngram_size`, as `caption` has them.

    Returns:
        Answers in the order of the video, and of the questions for each moment.

    Raises:
        UnknownModel: there is no model of that name, or it does not answer questions about this.
        QuestionError: no question, or one that is longer than the model reads.
        WrongMedium: the source is audio; MediaError: it cannot be used.
        MissingExtra: no OCR for a page without words.

    >>> import percepts
    >>> percepts.ask("photo.jpg", "how many cups?", model="Salesforce/blip-vqa-base")[0].text  # doctest: +SKIP
    '1'
    """
    if is_table(source):
        return _answer_table(source, question, model, fps=fps, frames=frames, words=words)
    options = replace(GenerationOptions(MAX_NEW_TOKENS), **generation)
    task = AskTask.create(question, model, options, fps=fps, frames=frames, precision=precision)
    return task.run_one(source) if words is None else task.answer_page(source, words)


def _answer_table(source: Any, question: str | Sequence[str], model: str, **others: Any) -> Sequence[Answer]:
    if given := [name for name, value in others.items() if value is not None]:
        raise QuestionError(f"a table has no {given[0]}; leave it out")
    return ask_table(source, list(check_questions(question)), model=model)
