"""Encode images and text in one space with CLIP, as vectors of length one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...types import Features, Inputs, Spec
from ...weights.checkpoint import Checkpoint
from ..scores import LogitScale
from .base import ImageTransformer, TextTower

if TYPE_CHECKING:
    import torch


class Clip(ImageTransformer):
    """Radford et al. 2021 (arXiv 2103.00020). `encode` gives the projected vector, `tokens` the patches before it."""

    pools = ("l2mean", "mean")
    outputs = ("vectors",)
    prefix = 1
    model: ClassVar[str] = "CLIPModel"
    processor: ClassVar[str] = "CLIPImageProcessor"
    template: ClassVar[str] = "a photo of {}"

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        super().__init__(spec, runtime=runtime, threads=threads)
        self._states = self._defer_network("states", self.build_states, self.example, ("states",))
        self._text: TextTower | None = None

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the fields of a Spec that the settings of a checkpoint tell, without its weights."""
        return {"kind": "image", "rate": 0.0, "window": 0.0, "dim": cls.dim(checkpoint), "pool": "l2mean",
                "size": cls.read_processor(checkpoint).side}  # fmt: skip

    @classmethod
    def dim(cls, checkpoint: Checkpoint) -> int:
        """Return the length of the vectors of both towers."""
        return int(checkpoint.config.get("projection_dim", 512))

    @property
    def patch(self) -> int:
        """Pixels along a patch."""
        return int(self._vision_config.get("patch_size", 32))

    @property
    def _vision_config(self) -> dict[str, Any]:
        # save_pretrained leaves out what is a default of CLIPVisionConfig.
        return {"image_size": 224, **self.checkpoint.section("vision_config")}

    @cached_property
    def logit_scale(self) -> LogitScale:
        """Factor of cosines before a softmax over texts."""
        return LogitScale.from_checkpoint(self.checkpoint, "logit_scale")

    def encode(self, inputs: Inputs) -> Features:
        """Return (B, 1, D) features, the projected vector of each image."""
        vectors = self._run(inputs)[0]
        return Features(vectors[:, None], np.ones((len(vectors), 1), bool), 0.0)

    def tokens(self, inputs: Inputs) -> Features:
        """Return (B, T, D) states of the last layer of the image tower, in its own width."""
        states = self._states(inputs)[0]
        mask = np.arange(states.shape[1]) >= self.prefix
        return Features(states, np.tile(mask, (len(states), 1)), 0.0)

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, D) vectors of texts in the space of the images, of length one where those are."""
        from ..pooling import normalise

        vectors = self.text(texts)
        return normalise(vectors) if self.spec.pool == "l2mean" else vectors

    @property
    def text(self) -> TextTower:
        """Tower of texts."""
        if self._text is None:
            self._text = self.build_text_tower()
        return self._text

    def build_text_tower(self) -> TextTower:
        """Build the text tower, without padding.

        The vector is that of the end token, which attends only to what comes before it: padding would change nothing.
        """
        return TextTower(
            self, self.build_text, int(self.checkpoint.section("text_config").get("max_position_embeddings", 77))
        )

    def build(self) -> torch.nn.Module:
        """Build the network from pixels to vectors: normalising, the image tower and its projection.

        The last layer computes the class token alone, where there is one.
        """
        from ...weights import pretrained

        model = self._load_tower()
        if self.prefix:
            layers = model.vision_model.encoder.layers
            layers[-1] = pretrained.FirstSteps(layers[-1])
        return self._wrap_tower(model, "pooler_output")

    def build_states(self) -> torch.nn.Module:
        """Build the network from pixels to states of all patches."""
        return self._wrap_tower(self._load_tower(), "last_hidden_state")

    def _load_tower(self) -> Any:
        from ...weights import pretrained

        model = pretrained.load_pretrained(self.model, self.checkpoint.folder)
        # Each tower is loaded when it is first needed; together they would take twice the memory.
        model.text_model = None
        return model

    def _wrap_tower(self, model: Any, wanted: str) -> torch.nn.Module:
        """Return the image tower as a network of pixels."""
        from ...weights import pretrained

        _ = self.grid  # raises if the size does not divide into patches
        resized = self.is_resized

        def call(model: Any, pixels: torch.Tensor) -> Any:
            return getattr(model.get_image_features(pixel_values=pixels, interpolate_pos_encoding=resized), wanted)

        return pretrained.WrappedModel(model, call, pretrained.NormalisePixels(self.pixels))

    def build_text(self) -> torch.nn.Module:
        """Build the text tower and its projection."""
        from ...weights import pretrained

        model = pretrained.load_pretrained(self.model, self.checkpoint.folder)
        model.vision_model = None
        return pretrained.WrappedModel(model, lambda m, ids: m.get_text_features(input_ids=ids).pooler_output)
