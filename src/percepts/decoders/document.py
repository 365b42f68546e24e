"""A page and a question in, the answer and its place out: LayoutLM and LayoutLMv3 by words, Donut by pixels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..encoders._clips import check_clips
from ..encoders._picture import ImageProcessor
from ..errors import MediaError, QuestionError
from ..features.pixels import normalise
from ..types import Clip, Inputs
from ._model import Box, GeneratedText, TextGenerator, TransformersModel, check_token_count
from .generation import GenerationOptions

GRID = 1000
"""Boxes are given to the models on a grid of so many steps either way."""
MAX_ANSWER_TOKENS = 15
"""Tokens an answer has at most."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a page, and its box in pixels of the page."""

    text: str
    box: Box


def gridded(box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    """A box of a page of that size on the models' grid, what hangs over the edge cut off.

    >>> gridded((50, 100, 150, 210), 200, 200)
    (250, 500, 750, 1000)
    """
    left, top, right, bottom = box
    if not (np.isfinite(box).all() and left <= right and top <= bottom):
        raise MediaError(f"expected a box as left, top, right, bottom in pixels of the page, got {box}")
    sides = (left / width, top / height, right / width, bottom / height)
    found = [min(max(int(GRID * side), 0), GRID) for side in sides]
    return found[0], found[1], found[2], found[3]


@dataclass(frozen=True, slots=True)
class _PageChunk:
    """Part of a page as a model reads it, and the word that each token belongs to (None: it is no word of the page)."""

    ids: list[int]
    boxes: list[tuple[int, int, int, int]]
    words: list[int | None]
    types: list[int]


class LayoutLM(TransformersModel):
    """Xu et al. 2019 (arXiv 1912.13318): words and where they stand."""

    kind = "LayoutLMForQuestionAnswering"
    separator_box: ClassVar[tuple[int, int, int, int]] = (GRID,) * 4
    separators: ClassVar[int] = 1
    """Between question and page."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Pages, their words found by OCR: MissingExtra where that is not installed."""
        from .ocr import read_words

        check_clips(clips, "image", self.spec)
        pages = [self.prepare_page(clip.data[0], read_words(clip.data[0])) for clip in clips]
        return {name: np.concatenate([page[name] for page in pages]) for name in pages[0]}

    def prepare_page(self, picture: np.ndarray, words: Sequence[Word]) -> Inputs:
        """One page and its words: "pixels" (1, H, W, 3), "words" (1,), the words and boxes as JSON."""
        if not words:
            raise MediaError("no words on the page: expected words with boxes, or a page with text on it")
        return {"pixels": picture[None], "words": np.array([json.dumps([[w.text, *w.box] for w in words])])}

    def answer(self, inputs: Inputs, question: str, options: GenerationOptions) -> list[GeneratedText]:
        """An answer a page; `options` are for models that write."""
        pages = zip(inputs["pixels"], inputs["words"], strict=True)
        return [
            self.find_answer(p, [Word(w, tuple(box)) for w, *box in json.loads(str(words))], question)
            for p, words in pages
        ]

    def find_answer(self, page: np.ndarray, words: Sequence[Word], question: str) -> GeneratedText:
        """The likeliest run of words; a page that is longer than the model reads is read in parts that overlap."""
        chunks = list(self.split_page(page.shape[0], page.shape[1], words, question))
        found = [self._find_best_span(chunk, *self.logits(page, chunk)) for chunk in chunks]
        score, first, last = max(found)
        text = " ".join(word.text for word in words[first : last + 1])
        return GeneratedText(text, score, _enclose_boxes([word.box for word in words[first : last + 1]]))

    def split_page(self, height: int, width: int, words: Sequence[Word], question: str) -> Iterator[_PageChunk]:
        """Question and page, token by token, as the checkpoint's tokenizer lays them out."""
        tok = self.tokenizer
        asked = self._tokenize_words(question.split())
        room = self.positions - len(asked) - 2 - self.separators
        check_token_count(len(asked), self.positions // 2, "a question", self.spec.name)
        tokens = [(token, i) for i, word in enumerate(words) for token in self._tokenize_words([word.text])]
        if not tokens:
            raise MediaError("no words on the page that the model's tokenizer knows how to write")
        boxes = [gridded(word.box, height, width) for word in words]
        zero, end = (0, 0, 0, 0), self.separator_box
        for start in range(0, max(1, len(tokens) - room + room // 2), room // 2) if len(tokens) > room else (0,):
            part = tokens[start : start + room]
            before = [tok.cls_token_id, *asked, *[tok.sep_token_id] * self.separators]
            yield _PageChunk(
                [*before, *(token for token, _ in part), tok.sep_token_id],
                [zero] * (1 + len(asked)) + [end] * self.separators + [boxes[i] for _, i in part] + [end],
                [None] * len(before) + [i for _, i in part] + [None],
                [0] * len(before) + [1] * (len(part) + 1),
            )

    def logits(self, page: np.ndarray, chunk: _PageChunk) -> tuple[np.ndarray, np.ndarray]:
        """(T,) of where the answer begins, and of where it ends."""
        tensors = self.to_tensors(self.build_inputs(page, chunk))
        found = self.run(lambda: self.model(**tensors))
        count = len(chunk.ids)
        start, stop = (x[0, :count].float().cpu().numpy() for x in (found.start_logits, found.end_logits))
        return start, stop

    def build_inputs(self, page: np.ndarray, chunk: _PageChunk) -> dict[str, np.ndarray]:
        """One row."""
        ids = np.array([chunk.ids], np.int64)
        return {"input_ids": ids, "bbox": np.array([chunk.boxes], np.int64), "attention_mask": np.ones_like(ids),
                "token_type_ids": np.array([chunk.types], np.int64)}  # fmt: skip

    @property
    def positions(self) -> int:
        """Tokens it reads at once."""
        return int(self.checkpoint.config.get("max_position_embeddings", 512))

    def _tokenize_words(self, words: Sequence[str]) -> list[int]:
        backend = self.tokenizer.backend_tokenizer
        return list(backend.encode(list(words), is_pretokenized=True, add_special_tokens=False).ids) if words else []

    @staticmethod
    def _find_best_span(chunk: _PageChunk, start: np.ndarray, stop: np.ndarray) -> tuple[float, int, int]:
        """Probability, first and last word. The first token stands for no answer and takes its share of it."""
        of_page = np.array([word is not None for word in chunk.words])
        chances = of_page | (np.arange(len(of_page)) == 0)
        begins, ends = (_softmax(np.where(chances, x, -np.inf)) * of_page for x in (start, stop))
        pairs = np.tril(np.triu(np.outer(begins, ends)), MAX_ANSWER_TOKENS - 1)
        first, last = np.unravel_index(int(pairs.argmax()), pairs.shape)
        words = chunk.words[int(first)], chunk.words[int(last)]
        assert words[0] is not None and words[1] is not None  # they are on the page, where alone it is above zero
        return float(pairs[first, last]), words[0], words[1]


class LayoutLM3(LayoutLM):
    """Huang et al. 2022 (arXiv 2204.08387): words, where they stand, and the picture of the page."""

    kind = "LayoutLMv3ForQuestionAnswering"
    separator_box = (0, 0, 0, 0)
    separators = 2

    @cached_property
    def pixels(self) -> ImageProcessor:
        """The checkpoint's own preprocessing."""
        return ImageProcessor.from_settings(self.checkpoint.processor, "LayoutLMv3ImageProcessor")

    def build_inputs(self, page: np.ndarray, chunk: _PageChunk) -> dict[str, np.ndarray]:
        """One row, the page after it."""
        pixels = self.pixels
        seen = normalise(pixels(page)[None], pixels.mean, pixels.std, scale=pixels.scale)
        row = super().build_inputs(page, chunk)
        return {**row, "token_type_ids": np.zeros_like(row["input_ids"]), "pixel_values": seen}

    @property
    def positions(self) -> int:
        """RoBERTa's positions begin after the number of its padding."""
        return super().positions - int(self.checkpoint.config.get("pad_token_id", 1)) - 1


class Donut(TextGenerator):
    """Kim et al. 2021 (arXiv 2111.15664): reads the page itself, and tells no place."""

    kind = "VisionEncoderDecoderModel"

    @cached_property
    def processor(self) -> Any:
        """Transformers' own, on Pillow."""
        import transformers

        from ..encoders import _modules

        with (
            _modules.silence_transformers(),
            _modules.raise_weights_error(self.checkpoint.folder, "the image processor"),
        ):
            return transformers.DonutImageProcessorPil.from_pretrained(self.checkpoint.folder, local_files_only=True)

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """{"pixels": (B, H, W, 3) uint8}: pages as they are."""
        check_clips(clips, "image", self.spec)
        return {"pixels": np.stack([clip.data[0] for clip in clips])}

    def answer(self, inputs: Inputs, question: str, options: GenerationOptions) -> list[GeneratedText]:
        """What it writes between the tags of an answer, a page each."""
        prompt = f"<s_docvqa><s_question>{question}</s_question><s_answer>"
        ids = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        most = int(self.model.config.decoder.max_position_embeddings)
        check_token_count(len(ids) + options.max_new_tokens, most, "a question and its answer", self.spec.name)
        pages = list(inputs["pixels"])
        pixels = self.processor(pages, return_tensors="np", input_data_format="channels_last")["pixel_values"]
        rows = np.tile(np.array(ids, np.int64), (len(pages), 1))
        found = self.generate({"pixel_values": np.asarray(pixels), "decoder_input_ids": rows}, options)
        return [GeneratedText(answer_of(self.tokenizer.decode(list(row.ids))), row.score) for row in found]


def answer_of(text: str) -> str:
    """What stands before the end of the answer, without tags.

    >>> answer_of(" 12 March</s_answer></s><pad>")
    '12 March'
    """
    return re.sub(r"<[^<>]*>", "", text.split("</s_answer>")[0]).strip()


def words_of(given: Sequence[Any]) -> list[Word]:
    """Words as they are given: Word, or (text, (left, top, right, bottom)), or {"text": …, "box": …}."""
    found = []
    for item in given:
        if isinstance(item, Word):
            found.append(item)
            continue
        try:
            text, box = (item["text"], item["box"]) if isinstance(item, dict) else item
            left, top, right, bottom = map(float, box)
        except (TypeError, ValueError, KeyError) as error:
            raise QuestionError(
                f"expected words as (text, (left, top, right, bottom)) or {{'text', 'box'}}, got {item!r}"
            ) from error
        found.append(Word(str(text), (left, top, right, bottom)))
    return found


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    result: np.ndarray = e / e.sum()
    return result


def _enclose_boxes(boxes: Sequence[Box]) -> Box:
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)
