"""Write captions for images with BLIP, GIT and encoder-decoders such as ViT-GPT2, using transformers' own models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import QuestionError, UnknownModel
from ..types import Clip, Inputs, Spec
from .base import GeneratedText, ImageTextGenerator, check_token_count
from .generation import GenerationOptions


class Captioner(Protocol):
    """Writes captions in two steps, as an encoder works."""

    spec: Spec

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Prepare images or single frames of one size: on the CPU, in numpy, without weights."""

    def caption(
        self, inputs: Inputs, options: GenerationOptions, *, prefix: str = "", prompt: str = ""
    ) -> list[GeneratedText]:
        """Return a caption for each row, beginning with `prefix`; `prompt` is the request to a chat model."""


class ImageCaptioner(ImageTextGenerator, ABC):
    """A text generator that continues a prefix with a look at the image."""

    def caption(
        self, inputs: Inputs, options: GenerationOptions, *, prefix: str = "", prompt: str = ""
    ) -> list[GeneratedText]:
        """Return a caption for each row, beginning with `prefix`; QuestionError where `prompt` is given."""
        if prompt:
            raise QuestionError(f"{self.spec.name} is not a chat model and cannot follow a prompt; use prefix instead")
        before = self.tokenize_prefix(prefix.strip())
        check_token_count(
            len(before) + options.max_new_tokens, self.positions, "a prefix and max_new_tokens", self.spec.name
        )
        ids = np.tile(np.array(self.start + before, np.int64), (len(inputs["pixels"]), 1))
        generated = self.write(self.pixel_values(inputs), ids, options)
        return [self.decode(row, tuple(before), prefix.strip()) for row in generated]

    @property
    @abstractmethod
    def start(self) -> list[int]:
        """Tokens before the text."""

    @property
    @abstractmethod
    def positions(self) -> int:
        """Number of tokens that the text part can hold."""

    @abstractmethod
    def write(self, pixel_values: np.ndarray, ids: np.ndarray, options: GenerationOptions) -> Any:
        """Generate the tokens after `ids` with a look at the image."""


class Blip(ImageCaptioner):
    """BLIP, Li et al. 2022 (arXiv 2201.12086)."""

    model_class = "BlipForConditionalGeneration"
    processor = "BlipImageProcessor"

    def generating_part(self, model: Any) -> Any:
        """Return its text decoder, which has generation settings of its own."""
        return model.text_decoder

    @property
    def start(self) -> list[int]:
        """Its own token for the beginning of a text."""
        return [int(self.model.config.text_config.bos_token_id)]

    @property
    def positions(self) -> int:
        """Positions of the text decoder."""
        return int(self.model.config.text_config.max_position_embeddings)

    def write(self, pixel_values: np.ndarray, ids: np.ndarray, options: GenerationOptions) -> Any:
        """Generate with the text decoder, which attends to the output of the vision model."""
        tensors, settings = self.to_tensors({"pixel_values": pixel_values}), self.model.config.text_config
        image_states = self.run(lambda: self.model.vision_model(**tensors))[0]
        inputs = {"input_ids": ids, "encoder_hidden_states": image_states,
                  "encoder_attention_mask": np.ones(image_states.shape[:2], np.int64)}  # fmt: skip
        return self.generate(inputs, options, eos_token_id=settings.sep_token_id, pad_token_id=settings.pad_token_id)


class Git(ImageCaptioner):
    """GIT, Wang et al. 2022 (arXiv 2205.14100)."""

    model_class = "GitForCausalLM"
    processor = "CLIPImageProcessor"

    @property
    def start(self) -> list[int]:
        """The token [CLS]."""
        return [int(self.model.config.bos_token_id)]

    @property
    def positions(self) -> int:
        """Positions of the text; those of the image are not counted."""
        return int(self.model.config.max_position_embeddings)

    def write(self, pixel_values: np.ndarray, ids: np.ndarray, options: GenerationOptions) -> Any:
        """Generate after the image, which stands before the text."""
        return self.generate({"pixel_values": pixel_values, "input_ids": ids}, options)


class EncoderDecoder(ImageCaptioner):
    """An image encoder and a text decoder that attends to it: ViT-GPT2, TrOCR."""

    model_class = "VisionEncoderDecoderModel"
    processor = "ViTImageProcessor"

    @property
    def start(self) -> list[int]:
        """The start token, from the first of three places in the settings that has one; UnknownModel where none has."""
        model = self.model
        # The generation settings first, as transformers' own generate takes them.
        for settings in (model.generation_config, model.config, model.config.decoder):
            for name in ("decoder_start_token_id", "bos_token_id"):
                if (token := getattr(settings, name, None)) is not None:
                    return [int(token)]
        raise UnknownModel(f"{self.spec.name}: its settings have no decoder_start_token_id and no bos_token_id")

    @property
    def positions(self) -> int:
        """Positions of the decoder."""
        decoder = self.model.config.decoder
        # GPT-2 calls it n_positions, and has 1024.
        return int(getattr(decoder, "max_position_embeddings", 0) or getattr(decoder, "n_positions", 1024))

    def write(self, pixel_values: np.ndarray, ids: np.ndarray, options: GenerationOptions) -> Any:
        """Generate with the prefix as the first tokens of the decoder."""
        return self.generate({"pixel_values": pixel_values, "decoder_input_ids": ids}, options)
