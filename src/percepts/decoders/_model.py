"""What models that write or answer share: settings of the folder, weights that load late, threads per call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from ..encoders import _modules
from ..encoders._checkpoint import Checkpoint
from ..encoders._clips import check_clips
from ..encoders._picture import Pixels
from ..errors import QuestionError
from ..features.pixels import normalise
from ..runtimes.torch import settled_pool
from ..types import Clip, Inputs, Spec
from .generation import Generation, Written, ends_of, neutral, written

T = TypeVar("T")
PRECISIONS = ("float32", "bfloat16", "float16")


Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels of the picture."""


@dataclass(frozen=True, slots=True)
class Text:
    """What a model wrote or chose, how sure it was, in [0, 1], and where it stands, for those that tell."""

    text: str
    score: float
    box: Box | None = None


class Model:
    """A checkpoint that answers in words; families say how it is called.

    runtime   "torch", or "auto", which is the same: a text is written by torch alone
    threads   torch's threads inside a call, on the CPU; None: as the process has it. Nothing is set elsewhere
    """

    kind: ClassVar[str]
    """Transformers' class."""

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        if runtime not in ("auto", "torch"):
            raise ValueError(f"{spec.name}: expected runtime to be torch, got {runtime!r}")
        if spec.precision not in PRECISIONS:
            raise ValueError(f"{spec.name}: expected precision to be {', '.join(PRECISIONS)}, got {spec.precision!r}")
        self.spec, self.threads = spec, threads

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Fields of its Spec, from the settings alone."""
        return {}

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The settings of the weights."""
        return Checkpoint.named(self.spec.weights[0])

    @cached_property
    def tokenizer(self) -> Any:
        """As transformers reads it; nothing of the checkpoint is run."""
        return _modules.tokenizer(self.checkpoint.folder)

    @cached_property
    def model(self) -> Any:
        """The network, in eval mode, on a GPU where there is one."""
        return self.build().to("cuda" if torch.cuda.is_available() else "cpu")

    def build(self) -> Any:
        """The network with the checkpoint's weights."""
        return _modules.pretrained(self.kind, self.checkpoint.folder, precision=self.spec.precision)

    def run(self, call: Callable[[], T]) -> T:
        """Call it without gradients, with this model's threads."""

        def inside() -> T:
            with torch.inference_mode():
                return call()

        return inside() if self._pool is None else self._pool.submit(inside).result()

    def tensors(self, arrays: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Arrays to tensors on the model's device, floats in its precision."""
        made = {name: torch.as_tensor(array) for name, array in arrays.items()}
        model = self.model
        return {k: v.to(model.device, model.dtype if v.is_floating_point() else None) for k, v in made.items()}

    @cached_property
    def _pool(self) -> ThreadPoolExecutor | None:
        return settled_pool(1, self.threads) if self.threads else None


class Writer(Model):
    """A model that generates."""

    def language(self, model: Any) -> Any:
        """The part of the network that generates; its generation settings are the ones that count."""
        return model

    def build(self) -> Any:
        """Its generation settings without those of sampling and length: transformers takes what is None from them."""
        model = super().build()
        language = self.language(model)
        language.generation_config = neutral(language.generation_config)
        return model

    def generate(self, inputs: Mapping[str, Any], options: Generation, **settings: Any) -> list[Written]:
        """The new tokens of each row; `settings` are those of a GenerationConfig that the family fixes."""
        language = self.language(self.model)
        config = options.config(language.generation_config, **settings)
        ends = ends_of(config.eos_token_id)
        if config.pad_token_id is None and ends:
            config.update(pad_token_id=min(ends))
        tensors = self.tensors(inputs)
        return written(self.run(lambda: language.generate(**tensors, generation_config=config)), ends)

    def decode(self, found: Written, prompt: tuple[int, ...] = (), prefix: str = "") -> Text:
        """New tokens to text; where they go on from a prefix, `prompt` are its tokens and the text begins with it.

        The prefix stays as it was typed, whatever the tokenizer makes of its capitals.
        """
        if not prefix:
            return Text(self._text(found.ids), found.score)
        before, whole = self._text(prompt), self._text((*prompt, *found.ids))
        more = whole[len(before) :] if whole.startswith(before) else f" {self._text(found.ids)}"
        return Text(f"{prefix}{more}".strip(), found.score)

    def _text(self, ids: tuple[int, ...]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


class PictureWriter(Writer):
    """A writer that looks at one picture of one size."""

    processor: ClassVar[str]
    """The image processor a checkpoint of this family has where its settings do not say."""

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """The size of its pictures."""
        return {"size": Pixels.of(checkpoint.processor, cls.processor).side}

    @cached_property
    def pixels(self) -> Pixels:
        """The checkpoint's own preprocessing."""
        return Pixels.of(self.checkpoint.processor, self.processor)

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """{"pixels": (B, H, W, 3) uint8}, as the checkpoint was trained on."""
        check_clips(clips, "image", self.spec)
        return {"pixels": np.stack([self.pixels(clip.data[0]) for clip in clips])}

    def pixel_values(self, inputs: Inputs) -> np.ndarray:
        """(B, 3, H, W) float32."""
        pixels = self.pixels
        return normalise(inputs["pixels"], pixels.mean, pixels.std, scale=pixels.scale)

    def tokens_of(self, text: str) -> list[int]:
        """A prefix as tokens, with no special ones."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []


def check_length(count: int, most: int, what: str, model: str) -> None:
    """QuestionError where a text has more tokens than a model reads."""
    if count > most:
        raise QuestionError(f"{what} of {count} tokens: {model} reads at most {most}; ask for fewer")
