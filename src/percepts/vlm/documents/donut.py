"""Answer a question about a page by its pixels: Donut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ...encoders.validation import check_clips
from ...types import Clip, Inputs
from ..base import GeneratedText, TextGenerator, check_token_count
from ..generation import GenerationOptions


class Donut(TextGenerator):
    """Donut, Kim et al. 2021 (arXiv 2111.15664): reads the page itself, and gives no position of the answer."""

    model_class = "VisionEncoderDecoderModel"

    @cached_property
    def processor(self) -> Any:
        """Transformers' own image processor, on Pillow."""
        import transformers

        from ...weights import pretrained

        with (
            pretrained.silence_transformers(),
            pretrained.raise_weights_error(self.checkpoint.folder, "the image processor"),
        ):
            return transformers.DonutImageProcessorPil.from_pretrained(self.checkpoint.folder, local_files_only=True)

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Return {"pixels": (B, H, W, 3) uint8}: the pages unchanged."""
        check_clips(clips, "image", self.spec)
        return {"pixels": np.stack([clip.data[0] for clip in clips])}

    def answer(self, inputs: Inputs, question: str, options: GenerationOptions) -> list[GeneratedText]:
        """Return the text between the answer tags, for each page."""
        # The prompt that Donut's DocVQA checkpoints were trained with.
        prompt = f"<s_docvqa><s_question>{question}</s_question><s_answer>"
        ids = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        limit = int(self.model.config.decoder.max_position_embeddings)
        check_token_count(len(ids) + options.max_new_tokens, limit, "a question and its answer", self.spec.name)
        pages = list(inputs["pixels"])
        pixels = self.processor(pages, return_tensors="np", input_data_format="channels_last")["pixel_values"]
        rows = np.tile(np.array(ids, np.int64), (len(pages), 1))
        generated = self.generate({"pixel_values": np.asarray(pixels), "decoder_input_ids": rows}, options)
        return [GeneratedText(extract_answer(self.tokenizer.decode(list(row.ids))), row.score) for row in generated]


def extract_answer(text: str) -> str:
    """Return the text before the end of the answer, without tags.

    >>> extract_answer(" 12 March</s_answer></s><pad>")
    '12 March'
    """
    return re.sub(r"<[^<>]*>", "", text.split("</s_answer>")[0]).strip()
