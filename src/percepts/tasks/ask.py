"""A picture, a page, a film or a table and questions in, answers out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import media
from ..errors import QuestionError, TruncatedMedia
from ..media import Probe, Source, probe
from ..runtimes import defer_choice
from ..runtimes.network import split_batch
from ..types import Clip, Inputs, Spec
from ..vlm.families import ASK, ASK_DOCUMENT, CHAT_TARGET, refresh_spec, resolve_model
from ..vlm.generation import GenerationOptions
from ..vlm.tables.table import is_table
from .answers import Answer, checked_questions
from .base import PreparedBatch, RecordFields, mark_stage
from .caption import TEXTS_PER_BATCH, of_one
from .embed import EmbedTask
from .settings import inline, read_arguments, to_settings

if TYPE_CHECKING:
    from ..vlm.vqa import Answerer

CHAT_FRAMES = 8
"""Frames of a film that a chat model is shown where nothing else is asked."""
MAX_NEW_TOKENS = 128


@dataclass(frozen=True)
class AskTask:
    """The task of `percepts ask`; `job` makes one that is checked.

    cut        how media is cut: pictures whole, films by frames
    questions  each is put to each picture; a record each, the question as its label
    frames     of a film, shown together for one answer; 0: a single frame at a time
    """

    embed_task: EmbedTask = field(metadata=inline(EmbedTask))
    options: GenerationOptions = field(metadata=inline(GenerationOptions))
    questions: tuple[str, ...]
    frames: int = 0

    name = "ask"

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One table, without vectors."""
        return self.embed_task.specs

    @property
    def model(self) -> Answerer:
        """Made once in this process."""
        return self.embed_task.encoder(self.specs[0])  # type: ignore[return-value]  # it answers in words

    def settings(self) -> dict[str, Any]:
        """Everything that changes an answer, as JSON: the fingerprint of a job."""
        return {"task": self.name, **to_settings(self)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], specs: Sequence[Spec]) -> AskTask:
        """Make the task that `settings()` speaks of, from the Specs that its directory holds; see `Repairable`."""
        return cls(**read_arguments(cls, settings, [refresh_spec(spec, ASK, ASK_DOCUMENT) for spec in specs]))

    def prepare_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch]:
        """All of a source, prepared, once for each question."""
        together = self.frames and medium.kind == "video"
        cut = self._prepare_video(source, notes) if together else self.embed_task.prepare_source(source, medium, notes)
        for piece in cut:
            for number in range(len(self.questions)):
                asked = np.full(len(piece.spans), number, np.int64)
                yield PreparedBatch(piece.model, piece.kind, piece.spans, {**piece.inputs, "question": asked})

    def explain_empty(self, medium: Probe) -> str:
        """Why a sound medium gave no answer."""
        return f"{self.embed_task.explain_empty(medium)}; questions are put to pictures, pages, films and tables"

    def run_batch(self, model: str, inputs: Inputs) -> Sequence[RecordFields]:
        """An answer for each row of a batch."""
        return [
            {"text": answer.text, "score": answer.score, "labels": (self.questions[number],), "box": answer.box}
            for number, answer in self.answers(inputs)
        ]

    def rehearsals(self) -> Mapping[str, Callable[[], Sequence[RecordFields]]]:
        """Return what writes the first word of an answer on a made-up picture."""
        return {self.specs[0].name: self._rehearse}

    def _rehearse(self) -> Sequence[RecordFields]:
        spec, brief = self.specs[0], replace(self, options=replace(self.options, max_new_tokens=1))
        from ..vlm.documents.layoutlm import LayoutLM
        from ..vlm.documents.page import words_of

        if isinstance(self.model, LayoutLM):  # a made-up page, since no OCR finds a word in a made-up picture
            page = np.full((32, 32, 3), 255, np.uint8)
            inputs = self.model.prepare_page(page, words_of([("word", (0.0, 0.0, 16.0, 16.0))]))
        else:
            inputs = self.embed_task.canary(spec)
        with defer_choice():
            return brief.run_batch(spec.name, {**inputs, "question": np.zeros(1, np.int64)})

    def answers(self, inputs: Inputs) -> list[tuple[int, Any]]:
        """(number of the question, Text) of each row."""
        rest = {name: array for name, array in inputs.items() if name != "question"}
        found: dict[int, Any] = {}
        for number in np.unique(inputs["question"]):
            rows = np.flatnonzero(inputs["question"] == number)
            part = {name: array[rows] for name, array in rest.items()}
            asked = self.questions[int(number)]
            texts = [
                t for few in split_batch(part, TEXTS_PER_BATCH) for t in self.model.answer(few, asked, self.options)
            ]
            found |= dict(zip(map(int, rows), texts, strict=True))
        return [(int(number), found[row]) for row, number in enumerate(inputs["question"])]

    def _prepare_video(self, source: Source, notes: list[str]) -> Iterator[PreparedBatch]:
        """One row of frames spread over the whole film."""
        with mark_stage("decode"):
            frames = pick_evenly(_stop_at_damage(media.stream_frames(source, fps=2.0), notes), self.frames)
        if frames:
            pixels = np.concatenate([frame.data for frame in frames])[None]
            yield PreparedBatch(self.specs[0].name, "video", ((frames[0].start, frames[-1].stop),), {"pixels": pixels})


def pick_evenly(frames: Iterable[Clip], count: int) -> list[Clip]:
    """`count` frames spread evenly from the first to the last, or all of them where there are fewer.

    In one pass and the memory of twice as many: where more have come, every second one is let go and from then on only
    half as many are taken.

    >>> film = [Clip(np.zeros((1, 2, 2, 3), np.uint8), "video", 1.0, float(k)) for k in range(100)]
    >>> [frame.start for frame in spread(film, 4)]
    [0.0, 32.0, 64.0, 96.0]
    """
    kept: list[Clip] = []
    stride = 1
    for number, frame in enumerate(frames):
        if number % stride == 0:
            kept.append(frame)
        if len(kept) > 2 * count:
            kept, stride = kept[::2], 2 * stride
    chosen = sorted({round(i) for i in np.linspace(0, len(kept) - 1, min(count, len(kept)))}) if kept else []
    return [kept[i] for i in chosen]


def _stop_at_damage(frames: Iterable[Clip], notes: list[str]) -> Iterator[Clip]:
    try:
        yield from frames
    except TruncatedMedia as damage:
        notes.append(str(damage))


def job(
    questions: str | Sequence[str],
    model: str,
    options: GenerationOptions | None = None,
    *,
    fps: float | None = None,
    frames: int | None = None,
    precision: str = "float32",
) -> AskTask:
    """The task that `ask` runs over one source and a job over many; the arguments are those of `ask`."""
    spec = resolve_model(model, ASK, ASK_DOCUMENT, precision=precision)
    chats = spec.target.endswith(CHAT_TARGET)
    if fps is not None and frames is not None:
        raise QuestionError("expected fps (an answer a frame) or frames (one answer of them all), got both")
    if frames is not None and (not chats or frames < 1):
        raise QuestionError(f"expected frames of at least 1 and a chat model, got {frames} and {spec.name}")
    together = (frames or CHAT_FRAMES) if chats and fps is None else 0
    cut = EmbedTask((spec,), fps=fps or 1.0, exact=True)
    options = options or GenerationOptions(MAX_NEW_TOKENS)
    return AskTask(cut, options, checked_questions(questions), together)


def ask(
    source: Any,
    question: str | Sequence[str],
    *,
    model: str,
    words: Sequence[Any] | None = None,
    fps: float | None = None,
    frames: int | None = None,
    precision: str = "float32",
    max_new_tokens: int = MAX_NEW_TOKENS,
    num_beams: int | None = None,
    length_penalty: float | None = None,
    repetition_penalty: float | None = None,
    no_repeat_ngram_size: int | None = None,
) -> Sequence[Answer]:
    """Answer questions on a picture, a page, a film or a table.

    Args:
        source: path or bytes of a picture, a page (a picture too) or a film; or a table, which `ask_table` answers.
        question: one, or several: an answer each.
        model: a hub id or the folder of a checkpoint. For pictures BLIP, ViLT or GIT; for pages LayoutLM, LayoutLMv3
            or Donut; for tables TAPAS; and for pictures, pages and films a chat model that sees.
        words: of a page, for LayoutLM: (text, (left, top, right, bottom)) in pixels of the page, in the order of
            reading. None: they are read by OCR, which needs percepts[ocr]. The models' grid of 0..1000 is made of them.
        fps: an answer for each frame of a film, so many a second.
        frames: one answer of so many frames, spread evenly over the film: chat models only, and what they do where
            nothing is said, with 8.
        precision: "float32", "bfloat16" or "float16".
        max_new_tokens: tokens of an answer at most, for models that write; with the next four as in `caption`.
        num_beams: beams kept side by side.
        length_penalty: with beams, above 0 favours long answers.
        repetition_penalty: above 1 makes what is there already less likely.
        no_repeat_ngram_size: no run of so many tokens comes twice.

    Returns:
        Answers in the order of the film, and of the questions for each moment.

    Raises:
        UnknownModel: no model of that name, or none that answers questions on this.
        QuestionError: no question, or one that is longer than the model reads.
        WrongMedium: a recording of sound; MediaError: it cannot be used.
        MissingExtra: no OCR for a page without words.

    >>> import percepts
    >>> percepts.ask("photo.jpg", "how many cups?", model="Salesforce/blip-vqa-base")[0].text  # doctest: +SKIP
    '1'
    """
    if is_table(source):
        return _answer_table(source, question, model, fps=fps, frames=frames, words=words)
    options = GenerationOptions(max_new_tokens, num_beams, length_penalty, repetition_penalty, no_repeat_ngram_size)
    task = job(question, model, options, fps=fps, frames=frames, precision=precision)
    return answers(task, source, words=words)


def answers(task: AskTask, source: Source, *, words: Sequence[Any] | None = None) -> list[Answer]:
    """What a task says of one picture, page or film; the arguments are those of `ask`."""
    if words is not None:
        return _answer_page(task, source, words)
    medium, notes, found = probe(source), list[str](), list[Answer]()
    for piece in task.prepare_source(source, medium, notes):
        found += _iter_answers(task, source, piece)
    if notes:
        raise TruncatedMedia(notes[0])
    return found or of_one(task, source)  # type: ignore[return-value]  # which raises


def _answer_page(task: AskTask, source: Source, words: Sequence[Any]) -> list[Answer]:
    from ..vlm.documents.layoutlm import LayoutLM
    from ..vlm.documents.page import words_of

    model = task.model
    if not isinstance(model, LayoutLM):
        raise QuestionError(f"{task.specs[0].name} reads the picture and takes no words; leave them out")
    page = model.prepare_page(media.open_image(source).data[0], words_of(words))
    pieces = (
        PreparedBatch(task.specs[0].name, "image", ((0.0, 0.0),), {**page, "question": np.array([number])})
        for number in range(len(task.questions))
    )
    return [answer for piece in pieces for answer in _iter_answers(task, source, piece)]


def _iter_answers(task: AskTask, source: Source, piece: PreparedBatch) -> Iterator[Answer]:
    called = str(source) if isinstance(source, str | Path) else ""
    for (start, stop), (number, text) in zip(piece.spans, task.answers(piece.inputs), strict=True):
        yield Answer(task.questions[number], text.text, text.score, called, start, stop, piece.model, piece.kind,
                     text.box)  # fmt: skip


def _answer_table(source: Any, question: str | Sequence[str], model: str, **others: Any) -> Sequence[Answer]:
    from .ask_table import ask_table

    if given := [name for name, value in others.items() if value is not None]:
        raise QuestionError(f"a table has no {given[0]}; leave it out")
    return ask_table(source, list(checked_questions(question)), model=model)
