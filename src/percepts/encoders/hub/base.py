"""Base classes of encoders of Hugging Face models: settings, a network that loads late, features with a grid."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ... import weights
from ...preprocess.image_processor import ImageProcessor
from ...runtimes import DeferredRunner, Network
from ...types import Clip, Features, Inputs, Spec
from ...weights.checkpoint import Checkpoint
from ..validation import check_clips
from .int8_check import INT8_UNCHECKED, check_int8

if TYPE_CHECKING:
    import torch

REVISION = "2"  # part of the key of a graph: raise it when networks are called in another way
ROWS_PER_CALL = 8  # measured, one thread, ViT-B/16: 0.54 s an image at 8 against 0.61 at 1; more gains nothing
# Which of the two is faster depends on model and batch; OpenVINO runs only if it is asked for.
CANDIDATE_RUNTIMES = ("torch", "onnx")
PRECISIONS = ("float32", "int8", INT8_UNCHECKED, "bfloat16")


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """Layout of the steps that count: names and lengths of the axes, slowest first; seconds a step of axis "time"."""

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    step: float = 0.0


class Transformer(ABC):
    """An encoder whose weights are a checkpoint of Hugging Face's layout; families say how to call the network."""

    pools: ClassVar[tuple[str, ...]] = ("cls", "mean")
    outputs: ClassVar[tuple[str, ...]] = ("states",)
    prefix: int = 0
    """Steps before the grid, which have no place in it (class token, registers): their mask is False."""

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        if spec.pool not in self.pools:
            raise ValueError(f"{spec.name}: expected pool to be {' or '.join(self.pools)}, got {spec.pool!r}")
        if spec.precision not in PRECISIONS:
            raise ValueError(f"{spec.name}: expected precision to be {', '.join(PRECISIONS)}, got {spec.precision!r}")
        self.spec = spec
        self.requested_runtime, self.threads = runtime, threads
        # Deferred: processes that only prepare clips make encoders, too, and must not load weights.
        self._run = self._defer_network("media", self.build, self.example, self.outputs)

    @property
    def runtime(self) -> str:
        """Runtime that runs it; asking chooses it and loads the weights, if that was not done yet."""
        return self._run.runtime

    def at_precision(self, precision: str, runtime: str) -> Self:
        """Return this encoder at another precision, run by this runtime."""
        return type(self)(replace(self.spec, precision=precision), runtime=runtime, threads=self.threads)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Settings of the weights."""
        return Checkpoint.open(self.spec.weights[0])

    @property
    def config(self) -> dict[str, Any]:
        """Contents of config.json."""
        return self.checkpoint.config

    @property
    @abstractmethod
    def grid(self) -> TokenGrid:
        """Layout of the steps that count in `tokens`."""

    @abstractmethod
    def build(self) -> torch.nn.Module:
        """Build the network, in eval mode."""

    @property
    def first(self) -> torch.nn.Module | None:
        """Module that the first input of the network goes through; None where there is none."""
        return None

    @property
    def call_kwargs(self) -> dict[str, Any]:
        """Keyword arguments of the network's call."""
        return {}

    @abstractmethod
    def example(self) -> Inputs:
        """Return inputs of one item, for export and measurement."""

    def encode(self, inputs: Inputs) -> Features:
        """Return the tokens; those before the grid come first, and the mask leaves them out."""
        return self.tokens(inputs)

    def tokens(self, inputs: Inputs) -> Features:
        """Return (B, T, D) states of the last layer; T is the prefix and then the grid."""
        states = self._run(inputs)[0]
        mask = np.ones(states.shape[:2], bool)
        mask[:, : self.prefix] = False
        return Features(states, mask, 0.0)

    def _defer_network(
        self, part: str, build: Callable[[], Any], example: Callable[[], Inputs], outputs: tuple[str, ...],
        free: Mapping[str, Mapping[int, str]] | None = None,
    ) -> DeferredRunner:  # fmt: skip
        def network() -> Network:
            spec = self.spec
            # The graph is exported again when any of these changes.
            facts = (
                weights.hash_weights(spec.weights),
                type(self).__name__,
                part,
                REVISION,
                spec.size,
                spec.window,
                free,
            )
            return Network(
                name=f"{self.checkpoint.model_type}-{part}",
                key=hashlib.sha256("|".join(map(str, facts)).encode()).hexdigest(),
                build=build,
                example=example(),
                outputs=outputs,
                free=free or {},
                rows=ROWS_PER_CALL,
                candidates=self._choose_candidates(),
                precision="int8" if spec.precision == INT8_UNCHECKED else spec.precision,
            )

        return DeferredRunner(network, self.requested_runtime, self.threads)

    def _choose_candidates(self) -> tuple[str, ...]:
        if self.spec.precision == "int8":
            return (check_int8(self).runtime,)  # the runtime that passed the check is the one that runs
        return ("torch",) if self.spec.precision == "bfloat16" else CANDIDATE_RUNTIMES


class ImageTransformer(Transformer):
    """An encoder of images by patches.

    Pixels leave `prepare` as uint8, a quarter of the bytes that travel between processes; the network normalises them.
    """

    processor: ClassVar[str] = ""
    """Image processor of this family where the settings of a checkpoint name none."""

    @cached_property
    def pixels(self) -> ImageProcessor:
        """Steps from an image to pixels, at the size of the spec."""
        return type(self).read_processor(self.checkpoint).with_size(self.spec.size)

    @classmethod
    def read_processor(cls, checkpoint: Checkpoint) -> ImageProcessor:
        """Return the preprocessing of a checkpoint."""
        return ImageProcessor.from_settings(checkpoint.processor, cls.processor)

    @property
    def first(self) -> torch.nn.Module | None:
        """Module that normalises pixels."""
        from ...weights import pretrained

        return pretrained.NormalisePixels(self.pixels)

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Resize images or single frames to {"pixels": (B, H, W, 3) uint8}, as the checkpoint was trained on."""
        check_clips(clips, "image", self.spec)
        return {"pixels": np.stack([self.pixels(clip.data[0]) for clip in clips])}

    def example(self) -> Inputs:
        """Return noise of the right size."""
        shape = (1, *self.pixels.output, 3)
        return {"pixels": np.random.default_rng(0).integers(0, 256, shape, np.uint8)}

    @property
    def patch(self) -> int:
        """Pixels along a side of a patch."""
        return int(self._vision_config["patch_size"])

    @property
    def grid(self) -> TokenGrid:
        """Rows and columns of patches."""
        height, width = self.pixels.output
        if height % self.patch or width % self.patch:
            raise ValueError(
                f"{self.spec.name}: expected a size that is a multiple of the patch, {self.patch}, got {height}x{width}"
            )
        return TokenGrid(("row", "column"), (height // self.patch, width // self.patch))

    @property
    def is_resized(self) -> bool:
        """Whether positions must be interpolated: the size is not the one of the checkpoint."""
        return self.pixels.output != (trained := parse_size(self._vision_config["image_size"])) and trained is not None

    @property
    def _vision_config(self) -> dict[str, Any]:
        # Models with a text tower nest it, others do not.
        return self.checkpoint.section("vision_config") or self.config


class TextTower:
    """Vectors of texts, in the space of the images or audio, by the tokenizer and network of the same checkpoint."""

    def __init__(self, encoder: Transformer, build: Callable[[], Any], length: int, *, pad: bool = False) -> None:
        self._encoder, self._length, self._pad = encoder, length, pad
        example = {"ids": np.arange(1, (length if pad else 6) + 1, dtype=np.int64)[None]}
        # With padding all texts have one length, so that no axis is dynamic.
        free = None if pad else {"ids": {1: "tokens"}}
        self._run = encoder._defer_network("text", build, lambda: example, ("vectors",), free)

    @cached_property
    def tokenizer(self) -> Any:
        """Tokenizer of the checkpoint as transformers reads it; no code of the checkpoint is run."""
        from ...weights.pretrained import load_tokenizer

        return load_tokenizer(self._encoder.checkpoint.folder)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, D) float32 vectors of B texts. What does not fit the model's positions is not read.

        Texts run in batches of equal length, because some of these networks attend to padding.
        """
        check_texts(texts)
        padding: dict[str, Any] = {"padding": "max_length"} if self._pad else {}
        found = self.tokenizer(list(texts), truncation=True, max_length=self._length, **padding)["input_ids"]
        return run_by_length([np.asarray(ids, np.int64) for ids in found], lambda ids: self._run({"ids": ids})[0])


def run_by_length(items: Sequence[np.ndarray], run: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Run (N,) items in batches of equal length; return the results in the order of the items."""
    lengths = np.array([len(item) for item in items])
    results: list[Any] = [None] * len(items)
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        for i, row in zip(same, run(np.stack([items[int(i)] for i in same])), strict=True):
            results[i] = row
    return np.stack(results)


def check_texts(texts: Sequence[str]) -> None:
    """Raise TypeError for one text where many are expected, ValueError for none."""
    if isinstance(texts, str):
        raise TypeError("expected a sequence of texts, got one text: put it in a list")
    if not texts:
        raise ValueError("expected at least one text, got none")


def parse_size(size: Any) -> tuple[int, int] | None:
    """Return a size of config.json, which is one number or two, as (height, width)."""
    if size is None:
        return None
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(height), int(width)
