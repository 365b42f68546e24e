"""Answer a question about a page by its words and their boxes: LayoutLM and LayoutLMv3."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from ...encoders.validation import check_clips
from ...errors import MediaError
from ...preprocess.image_processor import ImageProcessor
from ...preprocess.pixels import normalise
from ...types import Clip, Inputs
from ..base import Box, GeneratedText, TransformersModel, check_token_count
from ..generation import GenerationOptions
from .page import GRID, Word, scale_box

MAX_ANSWER_TOKENS = 15  # the default of transformers' document-question-answering pipeline
"""Most tokens of an answer."""


@dataclass(frozen=True, slots=True)
class _PageChunk:
    """Part of a page as a model reads it, and the word of each token (None where it belongs to no word of the page)."""

    ids: list[int]
    boxes: list[tuple[int, int, int, int]]
    words: list[int | None]
    types: list[int]


class LayoutLM(TransformersModel):
    """LayoutLM, Xu et al. 2019 (arXiv 1912.13318): reads words and their positions."""

    model_class = "LayoutLMForQuestionAnswering"
    separator_box: ClassVar[tuple[int, int, int, int]] = (GRID,) * 4
    separators: ClassVar[int] = 1
    """Separator tokens between question and page."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Prepare pages, reading their words by OCR; MissingExtra where that is not installed."""
        from .ocr import read_words

        check_clips(clips, "image", self.spec)
        pages = [self.prepare_page(clip.data[0], read_words(clip.data[0])) for clip in clips]
        return {name: np.concatenate([page[name] for page in pages]) for name in pages[0]}

    def prepare_page(self, image: np.ndarray, words: Sequence[Word]) -> Inputs:
        """Prepare one page with its words: "pixels" (1, H, W, 3), "words" (1,), the words and boxes as JSON."""
        if not words:
            raise MediaError("no words on the page: expected words with boxes, or a page with text on it")
        # As JSON, because inputs are arrays, and pages have different numbers of words.
        return {"pixels": image[None], "words": np.array([json.dumps([[w.text, *w.box] for w in words])])}

    def answer(self, inputs: Inputs, question: str, options: GenerationOptions) -> list[GeneratedText]:
        """Return an answer for each page; `options` have no effect, because nothing is generated."""
        pages = zip(inputs["pixels"], inputs["words"], strict=True)
        return [
            self.find_answer(p, [Word(w, tuple(box)) for w, *box in json.loads(str(words))], question)
            for p, words in pages
        ]

    def find_answer(self, page: np.ndarray, words: Sequence[Word], question: str) -> GeneratedText:
        """Return the most probable run of words; a page too long for the model is read in overlapping parts."""
        chunks = list(self.split_page(page.shape[0], page.shape[1], words, question))
        spans = [self._find_best_span(chunk, *self.logits(page, chunk)) for chunk in chunks]
        score, first, last = max(spans)
        text = " ".join(word.text for word in words[first : last + 1])
        return GeneratedText(text, score, _enclose_boxes([word.box for word in words[first : last + 1]]))

    def split_page(self, height: int, width: int, words: Sequence[Word], question: str) -> Iterator[_PageChunk]:
        """Yield question and page, token by token, in parts that the model can read, as its tokenizer lays them out."""
        tok = self.tokenizer
        question_ids = self._tokenize_words(question.split())
        room = self.positions - len(question_ids) - 2 - self.separators  # 2: the first token and the last
        # half of the positions are left for the page
        check_token_count(len(question_ids), self.positions // 2, "a question", self.spec.name)
        tokens = [(token, i) for i, word in enumerate(words) for token in self._tokenize_words([word.text])]
        if not tokens:
            raise MediaError("none of the words on the page can be written in tokens of the model")
        boxes = [scale_box(word.box, height, width) for word in words]
        zero, end = (0, 0, 0, 0), self.separator_box
        # Parts overlap by half, so that a short answer is complete in at least one.
        for start in range(0, max(1, len(tokens) - room + room // 2), room // 2) if len(tokens) > room else (0,):
            part = tokens[start : start + room]
            before = [tok.cls_token_id, *question_ids, *[tok.sep_token_id] * self.separators]
            yield _PageChunk(
                [*before, *(token for token, _ in part), tok.sep_token_id],
                [zero] * (1 + len(question_ids)) + [end] * self.separators + [boxes[i] for _, i in part] + [end],
                [None] * len(before) + [i for _, i in part] + [None],
                [0] * len(before) + [1] * (len(part) + 1),
            )

    def logits(self, page: np.ndarray, chunk: _PageChunk) -> tuple[np.ndarray, np.ndarray]:
        """Return two (T,) arrays: the logits of each token to begin the answer and to end it."""
        tensors = self.to_tensors(self.build_inputs(page, chunk))
        output = self.run(lambda: self.model(**tensors))
        count = len(chunk.ids)
        start, stop = (x[0, :count].float().cpu().numpy() for x in (output.start_logits, output.end_logits))
        return start, stop

    def build_inputs(self, page: np.ndarray, chunk: _PageChunk) -> dict[str, np.ndarray]:
        """Return the model inputs of one part of a page, as a batch of one."""
        ids = np.array([chunk.ids], np.int64)
        return {"input_ids": ids, "bbox": np.array([chunk.boxes], np.int64), "attention_mask": np.ones_like(ids),
                "token_type_ids": np.array([chunk.types], np.int64)}  # fmt: skip

    @property
    def positions(self) -> int:
        """Number of tokens that the model reads at once."""
        return int(self.checkpoint.config.get("max_position_embeddings", 512))

    def _tokenize_words(self, words: Sequence[str]) -> list[int]:
        """Return the tokens of words without special tokens."""
        # The backend itself, because LayoutLMv3's tokenizer refuses words without boxes.
        backend = self.tokenizer.backend_tokenizer
        return list(backend.encode(list(words), is_pretokenized=True, add_special_tokens=False).ids) if words else []

    @staticmethod
    def _find_best_span(chunk: _PageChunk, start: np.ndarray, stop: np.ndarray) -> tuple[float, int, int]:
        """Return the probability, first and last word of the best answer.

        The first token stands for "no answer" and takes part in the softmax.
        """
        of_page = np.array([word is not None for word in chunk.words])
        chances = of_page | (np.arange(len(of_page)) == 0)
        # Tokens of the question cannot begin or end an answer.
        begins, ends = (_softmax(np.where(chances, x, -np.inf)) * of_page for x in (start, stop))
        # Spans that end at or after their beginning, MAX_ANSWER_TOKENS long at most.
        pairs = np.tril(np.triu(np.outer(begins, ends)), MAX_ANSWER_TOKENS - 1)
        first, last = np.unravel_index(int(pairs.argmax()), pairs.shape)
        words = chunk.words[int(first)], chunk.words[int(last)]
        assert words[0] is not None and words[1] is not None  # only tokens of the page have a probability above zero
        return float(pairs[first, last]), words[0], words[1]


class LayoutLM3(LayoutLM):
    """LayoutLMv3, Huang et al. 2022 (arXiv 2204.08387): reads words, their positions, and the image of the page."""

    model_class = "LayoutLMv3ForQuestionAnswering"
    separator_box = (0, 0, 0, 0)
    separators = 2  # as RoBERTa's tokenizer writes pairs: </s></s>

    @cached_property
    def pixels(self) -> ImageProcessor:
        """The checkpoint's own image preprocessing."""
        return ImageProcessor.from_settings(self.checkpoint.processor, "LayoutLMv3ImageProcessor")

    def build_inputs(self, page: np.ndarray, chunk: _PageChunk) -> dict[str, np.ndarray]:
        """Return the model inputs of one part of a page, with the image of the page."""
        pixels = self.pixels
        values = normalise(pixels(page)[None], pixels.mean, pixels.std, scale=pixels.scale)
        row = super().build_inputs(page, chunk)
        # RoBERTa has one type of token only
        return {**row, "token_type_ids": np.zeros_like(row["input_ids"]), "pixel_values": values}

    @property
    def positions(self) -> int:
        """Number of tokens read at once: RoBERTa's positions begin after the number of its padding token."""
        # RoBERTa counts positions from pad_token_id + 1 on.
        return super().positions - int(self.checkpoint.config.get("pad_token_id", 1)) - 1


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())  # exp of large logits would overflow
    result: np.ndarray = e / e.sum()
    return result


def _enclose_boxes(boxes: Sequence[Box]) -> Box:
    """Return the box around all boxes."""
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)
