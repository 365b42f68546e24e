"""Share what image and text models need: settings, weights that load on first use, tensors, threads for each call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from ..encoders.validation import check_clips
from ..errors import QuestionError
from ..preprocess.image_processor import ImageProcessor
from ..preprocess.pixels import normalise
from ..runtimes.torch import make_thread_pool
from ..types import Clip, Inputs, Spec
from ..weights import pretrained
from ..weights.checkpoint import Checkpoint
from .generation import GeneratedTokens, GenerationOptions, collect_end_tokens, disable_sampling, read_generated

T = TypeVar("T")
PRECISIONS = ("float32", "bfloat16", "float16")


Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels of the image."""


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """A text that a model wrote or chose, its probability in [0, 1], and its box where the model gives one."""

    text: str
    score: float
    box: Box | None = None


class TransformersModel:
    """A Hugging Face model that answers in text; the classes of the families define how it is called.

    runtime   "torch" or "auto", which are the same: only torch generates text
    threads   torch's threads inside a call on the CPU; None: the process's own number. Nothing is set outside the call
    """

    model_class: ClassVar[str]
    """Name of the model class in transformers."""

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        if runtime not in ("auto", "torch"):
            raise ValueError(f"{spec.name}: expected runtime to be torch, got {runtime!r}")
        if spec.precision not in PRECISIONS:
            raise ValueError(f"{spec.name}: expected precision to be {', '.join(PRECISIONS)}, got {spec.precision!r}")
        self.spec, self.threads = spec, threads

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return fields of the model's Spec that its settings define."""
        return {}

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The settings and files of the weights."""
        return Checkpoint.open(self.spec.weights[0])

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer as transformers reads it; no code of the checkpoint is run."""
        return pretrained.load_tokenizer(self.checkpoint.folder)

    @cached_property
    def model(self) -> Any:
        """The network, in eval mode, on a GPU where there is one."""
        return self.build().to("cuda" if torch.cuda.is_available() else "cpu")

    def build(self) -> Any:
        """Build the network with the checkpoint's weights."""
        return pretrained.load_pretrained(self.model_class, self.checkpoint.folder, precision=self.spec.precision)

    def run(self, call: Callable[[], T]) -> T:
        """Run a call without gradients and with this model's threads."""

        def inside() -> T:
            with torch.inference_mode():
                return call()

        # In a thread of its own, so that torch's number of threads stays as it is elsewhere.
        return inside() if self._pool is None else self._pool.submit(inside).result()

    def to_tensors(self, arrays: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Convert arrays to tensors on the model's device, floats in its precision."""
        tensors = {name: torch.as_tensor(array) for name, array in arrays.items()}
        model = self.model
        return {k: v.to(model.device, model.dtype if v.is_floating_point() else None) for k, v in tensors.items()}

    @cached_property
    def _pool(self) -> ThreadPoolExecutor | None:
        return make_thread_pool(1, self.threads) if self.threads else None


class TextGenerator(TransformersModel):
    """A model that generates text."""

    def generating_part(self, model: Any) -> Any:
        """Return the part of the network that generates; its generation settings are used."""
        return model

    def build(self) -> Any:
        """Build the network without sampling and length limits in its generation settings."""
        model = super().build()
        language = self.generating_part(model)
        # With sampling, a caption would depend on chance and on its batch.
        language.generation_config = disable_sampling(language.generation_config)
        return model

    def generate(self, inputs: Mapping[str, Any], options: GenerationOptions, **settings: Any) -> list[GeneratedTokens]:
        """Return the new tokens of each row; `settings` are fields of GenerationConfig that the family fixes."""
        language = self.generating_part(self.model)
        config = options.config(language.generation_config, **settings)
        ends = collect_end_tokens(config.eos_token_id)
        if config.pad_token_id is None and ends:
            # Rows that end early must be padded. Any end token will do: `read_generated` stops at the first.
            config.update(pad_token_id=min(ends))
        tensors = self.to_tensors(inputs)
        return read_generated(self.run(lambda: language.generate(**tensors, generation_config=config)), ends)

    def decode(self, generated: GeneratedTokens, prompt: tuple[int, ...] = (), prefix: str = "") -> GeneratedText:
        """Decode new tokens to text; where they continue a prefix, `prompt` are its tokens and the text begins with it.

        The prefix stays as it was typed, whatever case the tokenizer gives it.
        """
        if not prefix:
            return GeneratedText(self._decode_tokens(generated.ids), generated.score)
        before, complete = self._decode_tokens(prompt), self._decode_tokens((*prompt, *generated.ids))
        # Decoded together with its prefix: many tokenizers drop the space before a first token.
        more = complete[len(before) :] if complete.startswith(before) else f" {self._decode_tokens(generated.ids)}"
        return GeneratedText(f"{prefix}{more}".strip(), generated.score)

    def _decode_tokens(self, ids: tuple[int, ...]) -> str:
        """Return the text of tokens without special tokens and surrounding space."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


class ImageTextGenerator(TextGenerator):
    """A text generator that takes one image of a fixed size."""

    processor: ClassVar[str]
    """Image processor of this family, for a checkpoint whose settings name none."""

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the size of its images."""
        return {"size": ImageProcessor.from_settings(checkpoint.processor, cls.processor).side}

    @cached_property
    def pixels(self) -> ImageProcessor:
        """The checkpoint's own image preprocessing."""
        return ImageProcessor.from_settings(self.checkpoint.processor, self.processor)

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Return {"pixels": (B, H, W, 3) uint8}, resized as the checkpoint was trained."""
        check_clips(clips, "image", self.spec)
        return {"pixels": np.stack([self.pixels(clip.data[0]) for clip in clips])}

    def pixel_values(self, inputs: Inputs) -> np.ndarray:
        """Return normalised pixels (B, 3, H, W) float32."""
        pixels = self.pixels
        return normalise(inputs["pixels"], pixels.mean, pixels.std, scale=pixels.scale)

    def tokenize_prefix(self, text: str) -> list[int]:
        """Return the tokens of a text without special tokens, [] for an empty one."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []


def check_token_count(count: int, limit: int, what: str, model: str) -> None:
    """Raise QuestionError where a text has more tokens than a model can read."""
    # Beyond its positions torch fails with an index error that names no text.
    if count > limit:
        raise QuestionError(
            f"{model} reads at most {limit} tokens, got {what} of {count}: shorten the text or lower max_new_tokens"
        )
