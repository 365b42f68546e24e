"""Ask chat models about images through the checkpoint's own chat template.

The processor is built from the tokenizer and the Pillow version of the image processor. Transformers' `AutoProcessor`
would require torchvision for video, which is not needed: video frames are passed as images.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..encoders.validation import check_clips
from ..errors import UnknownModel, WeightsError
from ..types import Clip, Inputs
from ..weights import pretrained
from .base import GeneratedText, TextGenerator, check_token_count
from .generation import GenerationOptions

DEFAULT_PROMPT = "Describe this picture in one sentence."  # part of the result: another wording, another caption
PROCESSORS = {"smolvlm": "Idefics3Processor"}
"""Processors used in place of a family's own: SmolVLM's needs num2words, which only its video input uses."""


class Chat(TextGenerator):
    """LLaVA, Idefics3 and SmolVLM, Qwen2-VL and Qwen2.5-VL, and other image-text-to-text models of transformers."""

    model_class: ClassVar[str] = "AutoModelForImageTextToText"

    def build(self) -> Any:
        """Build the model named by its config; UnknownModel where transformers has no class for it."""
        try:
            return super().build()
        except ValueError as error:
            # Transformers has no error class of its own for this.
            if "Unrecognized" in str(error):
                raise UnknownModel(
                    f"{self.spec.name}: transformers has no image-text-to-text model for model_type "
                    f"{self.checkpoint.model_type!r}"
                ) from error
            raise

    @cached_property
    def processor(self) -> Any:
        """The processor of text and images, without video."""
        return build_processor(self.checkpoint.folder, self.checkpoint.model_type, self.tokenizer)

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Return {"pixels": (B, H, W, 3) uint8} as they are: further preparation depends on the text."""
        check_clips(clips, "image", self.spec)
        return {"pixels": np.stack([clip.data[0] for clip in clips])}

    def caption(
        self, inputs: Inputs, options: GenerationOptions, *, prefix: str = "", prompt: str = ""
    ) -> list[GeneratedText]:
        """Return a caption for each image: the answer to `prompt`, beginning with `prefix`."""
        return self.reply([([image], prompt or DEFAULT_PROMPT) for image in inputs["pixels"]], options, prefix=prefix)

    def answer(self, inputs: Inputs, question: str, options: GenerationOptions) -> list[GeneratedText]:
        """Return one answer for each image, or for each row of several: pixels are (B, H, W, 3) or (B, N, H, W, 3)."""
        rows = [list(row) if row.ndim == 4 else [row] for row in inputs["pixels"]]
        return self.reply([(row, question) for row in rows], options)

    def reply(
        self, requests: Sequence[tuple[Sequence[np.ndarray], str]], options: GenerationOptions, *, prefix: str = ""
    ) -> list[GeneratedText]:
        """Return a reply to each request of images and text, all in one batch, padded on the left."""
        prefix = prefix.strip()
        texts = [self.format_prompt(len(images), text, prefix) for images, text in requests]
        with pretrained.silence_transformers():
            inputs = self.processor(
                text=texts,
                images=[list(images) for images, _ in requests],
                padding=True,
                # Generation continues the end of a row, so the padding must not stand there.
                padding_side="left",
                return_tensors="pt",
                **({} if self._needs_start_token(texts[0]) else {"add_special_tokens": False}),
            )
        check_token_count(inputs["input_ids"].shape[1] + options.max_new_tokens, self.positions,
                          "images, text and reply",
                     self.spec.name)  # fmt: skip
        before = tuple(self.tokenizer(prefix, add_special_tokens=False)["input_ids"]) if prefix else ()
        return [self.decode(row, before, prefix) for row in self.generate(inputs, options)]

    def format_prompt(self, images: int, text: str, prefix: str = "") -> str:
        """Return the user's turn and the opening of the model's turn, as the chat template writes them."""
        if not self.processor.chat_template:
            raise WeightsError(f"{self.spec.name}: expected a chat template beside the tokenizer, found none")
        content: list[dict[str, str]] = [{"type": "image"} for _ in range(images)]
        turns = [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]
        if not prefix:
            return str(self.processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))
        turns.append({"role": "assistant", "content": [{"type": "text", "text": prefix}]})
        return str(self.processor.apply_chat_template(turns, continue_final_message=True, tokenize=False))

    @property
    def positions(self) -> int:
        """Number of tokens that the text part can hold."""
        settings = self.model.config.get_text_config()
        # No entry means no limit that could be checked.
        return int(getattr(settings, "max_position_embeddings", None) or 1 << 30)

    def _needs_start_token(self, text: str) -> bool:
        """Return whether the tokenizer must add the start token: not where the template has written it already."""
        start = self.tokenizer.bos_token
        return not (start and text.startswith(start))


def build_processor(folder: Any, model_type: str, tokenizer: Any) -> Any:
    """Build transformers' processor of a family from the parts that images and text need."""
    import transformers
    from transformers.models.auto import processing_auto

    name = PROCESSORS.get(model_type) or processing_auto.PROCESSOR_MAPPING_NAMES.get(model_type)  # type: ignore[attr-defined]
    if name is None:
        raise UnknownModel(f"no processor for model_type {model_type!r} in transformers {transformers.__version__}")
    processor_class = getattr(transformers, name)
    # Transformers checks the classes of the parts, and would refuse the Pillow image processor and no video processor.
    images_only: Any = type(
        name, (processor_class,), {"check_argument_for_proper_class": lambda self, key, value: type(value)}
    )
    with pretrained.silence_transformers(), pretrained.raise_weights_error(folder, "the processor"):
        settings, _ = processor_class.get_processor_dict(folder, local_files_only=True)
        parts = {
            "tokenizer": tokenizer,
            "image_processor": transformers.AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                # The Pillow backend, because the default one needs torchvision.
                folder,
                backend="pil",
                local_files_only=True,
                trust_remote_code=False,
            ),
        }
        processor = images_only.from_args_and_dict(
            [parts.get(part) for part in processor_class.get_attributes()], settings
        )
    processor.chat_template = processor.chat_template or tokenizer.chat_template
    return processor
