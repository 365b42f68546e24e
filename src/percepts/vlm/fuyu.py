"""Ask Fuyu about images; the preprocessing is that of the Fuyu encoder.

Transformers' own processor needs torchvision: the Pillow version of 5.23 fails in `patchify_image`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from ..encoders.hub import fuyu
from ..types import Clip, Inputs
from .base import GeneratedText, TextGenerator, check_token_count
from .generation import GenerationOptions

DEFAULT_PROMPT = "Generate a coco-style caption.\n"  # from the model card of adept/fuyu-8b
ANSWER_MARK = "<0x04>"
"""The token after which the answer begins."""


class Fuyu(TextGenerator):
    """Fuyu, Bavishi et al. 2023 (adept.ai/blog/fuyu-8b). A caption is the answer to a request for one."""

    model_class = "FuyuForCausalLM"

    @cached_property
    def encoder(self) -> fuyu.Fuyu:
        """The encoder that splits images into patches."""
        # only its preprocessing is used, so no second network is loaded
        return fuyu.Fuyu(replace(self.spec, pool="mean", precision="float32"))

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Return {"patches": (B, N, P * P * 3) uint8, "shape": (B, 2)} of images of any size."""
        return self.encoder.prepare(clips)

    def caption(
        self, inputs: Inputs, options: GenerationOptions, *, prefix: str = "", prompt: str = ""
    ) -> list[GeneratedText]:
        """Return a caption for each image: the answer to `prompt`, beginning with `prefix`."""
        prefix = prefix.strip()
        before = tuple(self._tokenize(prefix)) if prefix else ()
        rows = [
            [*self.image_tokens(shape), *self._tokenize((prompt or DEFAULT_PROMPT) + ANSWER_MARK), *before]
            for shape in inputs["shape"]
        ]
        longest = max(map(len, rows))
        limit = int(self.model.config.get_text_config().max_position_embeddings)
        check_token_count(longest + options.max_new_tokens, limit, "image, text and reply", self.spec.name)
        # Any id will do: the mask hides the padding.
        pad = self.tokenizer.pad_token_id or 0
        # Padded on the left: generation continues the end of a row.
        ids = np.array([[pad] * (longest - len(row)) + row for row in rows], np.int64)
        mask = np.array([[0] * (longest - len(row)) + [1] * len(row) for row in rows], np.int64)
        beams = options.num_beams or self.model.generation_config.num_beams or 1
        model_inputs = {"input_ids": ids, "attention_mask": mask, "pixel_values": self.pixel_values(inputs, beams)}
        return [self.decode(row, before, prefix) for row in self.generate(model_inputs, options)]

    def answer(self, inputs: Inputs, question: str, options: GenerationOptions) -> list[GeneratedText]:
        """Return an answer for each image."""
        return self.caption(inputs, options, prompt=f"{question}\n")

    def image_tokens(self, shape: np.ndarray) -> list[int]:
        """Return the tokens that stand for an image of so many rows and columns, and the start of the text."""
        image, newline = (int(self.tokenizer.convert_tokens_to_ids(mark)) for mark in ("|SPEAKER|", "|NEWLINE|"))
        order = fuyu.patch_order(int(shape[0]), int(shape[1]))
        return [newline if number == fuyu.NEWLINE else image for number in order] + [int(self.tokenizer.bos_token_id)]

    def pixel_values(self, inputs: Inputs, beams: int = 1) -> np.ndarray:
        """Return patches of all images (patches, P * P * 3) float32, each image repeated for each beam."""
        mean, std, scale = self.encoder.scaling
        images = zip(inputs["patches"], inputs["shape"], strict=True)
        patches = np.concatenate([row[: int(shape.prod())] for row, shape in images for _ in range(beams)])
        values: np.ndarray = ((patches * scale - mean) / std).astype(np.float32)
        return values

    def _tokenize(self, text: str) -> list[int]:
        """Return the tokens of a text without special tokens."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
