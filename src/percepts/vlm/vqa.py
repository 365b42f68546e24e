"""Answer questions about images: BLIP and GIT write the answer, ViLT picks one of those it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch

from ..encoders.validation import check_clips
from ..errors import QuestionError
from ..preprocess.image_processor import HALF
from ..preprocess.pixels import normalise, resize
from ..types import Clip, Inputs, Spec
from ..weights.checkpoint import Checkpoint
from .base import GeneratedText, ImageTextGenerator, TransformersModel, check_token_count
from .captioning import Git
from .generation import GenerationOptions


class Answerer(Protocol):
    """Answers a question about images in two steps, as an encoder works."""

    spec: Spec

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Prepare images, pages or single frames of one size: on the CPU, in numpy, without weights."""

    def answer(self, inputs: Inputs, question: str, options: GenerationOptions) -> list[GeneratedText]:
        """Return an answer for each image."""


class BlipAnswerer(ImageTextGenerator):
    """BLIP for questions, Li et al. 2022 (arXiv 2201.12086): encodes the question with the image, writes an answer."""

    model_class = "BlipForQuestionAnswering"
    processor = "BlipImageProcessor"

    def generating_part(self, model: Any) -> Any:
        """Return its text decoder."""
        return model.text_decoder

    def answer(self, inputs: Inputs, question: str, options: GenerationOptions) -> list[GeneratedText]:
        """Return an answer for each image."""
        ids = list(self.tokenizer(question)["input_ids"])
        settings = self.model.config.text_config
        for length, what in ((len(ids), "a question"), (options.max_new_tokens, "an answer")):
            check_token_count(length, settings.max_position_embeddings, what, self.spec.name)
        tensors = self.to_tensors({"pixel_values": self.pixel_values(inputs)})
        question_states = self.run(lambda: self._read_question(tensors["pixel_values"], ids))
        prepared = {
            "input_ids": np.full((len(question_states), 1), self.model.decoder_start_token_id, np.int64),
            "encoder_hidden_states": question_states,
            "encoder_attention_mask": np.ones(question_states.shape[:2], np.int64),
        }
        generated = self.generate(
            prepared, options, eos_token_id=settings.sep_token_id, pad_token_id=settings.pad_token_id
        )
        return [self.decode(row) for row in generated]

    def _read_question(self, pixel_values: torch.Tensor, question: list[int]) -> torch.Tensor:
        """Encode the question with a look at each image: (B, T, D)."""
        image_states = self.model.vision_model(pixel_values=pixel_values)[0]
        ids = torch.tensor([question] * len(image_states), device=image_states.device)
        result: torch.Tensor = self.model.text_encoder(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            encoder_hidden_states=image_states,
            encoder_attention_mask=torch.ones(image_states.shape[:2], dtype=torch.long, device=image_states.device),
            return_dict=False,
        )[0]
        return result


class GitAnswerer(Git):
    """GIT for questions, Wang et al. 2022 (arXiv 2205.14100): writes on after the question."""

    def answer(self, inputs: Inputs, question: str, options: GenerationOptions) -> list[GeneratedText]:
        """Return an answer for each image."""
        before = self.tokenize_prefix(question)
        check_token_count(
            len(before) + options.max_new_tokens, self.positions, "a question and its answer", self.spec.name
        )
        ids = np.tile(np.array(self.start + before, np.int64), (len(inputs["pixels"]), 1))
        return [self.decode(row) for row in self.write(self.pixel_values(inputs), ids, options)]


class Vilt(TransformersModel):
    """ViLT, Kim et al. 2021 (arXiv 2102.03334): one of its trained answers, each with a probability of its own."""

    model_class = "ViltForQuestionAnswering"

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the shorter side of its images."""
        return {"size": _read_shorter_side(checkpoint.processor)}

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The answers it knows."""
        names = self.checkpoint.config.get("id2label", {})
        return tuple(str(names[key]) for key in sorted(names, key=int))  # as numbers: the text 10 comes before 2

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Return {"pixels": (B, H, W, 3) uint8}: the shorter side as trained, both sides multiples of a patch.

        Images keep their shape; those of one call must have one shape, so that nothing is padded.
        """
        check_clips(clips, "image", self.spec)
        settings, pictures = self.checkpoint.processor, [clip.data[0] for clip in clips]
        side, divisor = _read_shorter_side(settings), int(settings.get("size_divisor", 32))
        return {"pixels": np.stack([resize(p, *_fit_sides(p.shape[0], p.shape[1], side, divisor)) for p in pictures])}

    def answer(self, inputs: Inputs, question: str, options: GenerationOptions) -> list[GeneratedText]:
        """Return an answer for each image; `options` have no effect, because nothing is generated."""
        ids = list(self.tokenizer(question)["input_ids"])
        check_token_count(len(ids), self.model.config.max_position_embeddings, "a question", self.spec.name)
        probabilities = self.logits(inputs, ids).sigmoid()
        if len(self.labels) != probabilities.shape[1]:
            raise QuestionError(
                f"{self.spec.name}: config.json names {len(self.labels)} answers, "
                f"the network gives {probabilities.shape[1]}"
            )
        best = probabilities.max(dim=1)
        return [GeneratedText(self.labels[int(i)], float(p)) for i, p in zip(best.indices, best.values, strict=True)]

    def logits(self, inputs: Inputs, question: list[int]) -> torch.Tensor:
        """Return the logits (B, answers) float32.

        The network draws the order of the patches at random, which changes nothing but the last bits. The draw is made
        the same each time, and the state of the process's generator is restored.
        """
        settings = self.checkpoint.processor
        mean, std = settings.get("image_mean", HALF), settings.get("image_std", HALF)
        pixels = normalise(inputs["pixels"], mean, std, scale=settings.get("rescale_factor", 1 / 255))
        rows, height, width = len(pixels), *pixels.shape[2:]
        # Nothing is padded (see `prepare`), so both masks below are all ones.
        ids = np.tile(np.array(question, np.int64), (rows, 1))
        tensors = self.to_tensors(
            {"pixel_values": pixels, "input_ids": ids, "attention_mask": np.ones_like(ids),
             "pixel_mask": np.ones((rows, height, width), np.int64)}
        )  # fmt: skip

        def call() -> torch.Tensor:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                return torch.Tensor(self.model(**tensors).logits.float().cpu())

        return self.run(call)


def _read_shorter_side(settings: Any) -> int:
    """Return the shorter side in pixels from the settings of the image processor."""
    size = settings.get("size", 384)
    # Older settings hold one number, newer ones a dict.
    return int(size if isinstance(size, int) else size.get("shortest_edge", 384))


def _fit_sides(height: int, width: int, shorter: int, divisor: int) -> tuple[int, int]:
    """Return height and width: `shorter`, and at most 1333 / 800 of it, both multiples of `divisor`."""
    scale = shorter / min(height, width)
    sides = [shorter if n == min(height, width) else scale * n for n in (height, width)]
    # ViltImageProcessor's own limit, from Detectron's sizes of 800 and 1333.
    longer = int(1333 / 800 * shorter)
    if max(sides) > longer:
        sides = [n * longer / max(sides) for n in sides]
    # Rounded as ViltImageProcessor does, not as Python's round.
    fitted = [max(divisor, int(n + 0.5) // divisor * divisor) for n in sides]
    return fitted[0], fitted[1]
