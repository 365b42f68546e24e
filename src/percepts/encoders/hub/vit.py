"""Encode images with ViT, DeiT and BEiT: a class token and a grid of patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ...weights.checkpoint import Checkpoint
from .base import ImageTransformer
from .class_token import ClassTokenModel

if TYPE_CHECKING:
    import torch


class Vit(ClassTokenModel, ImageTransformer):
    """Dosovitskiy et al. 2020 (arXiv 2010.11929). The vector is the class token after the last norm.

    Never the pooler: in a checkpoint of a classifier, such as google/vit-base-patch16-224, it is not there.
    """

    prefix = 1
    model: ClassVar[str] = "ViTModel"
    head_classes: ClassVar[tuple[str, ...]] = ("ViTForImageClassification",)
    processor: ClassVar[str] = "ViTImageProcessor"
    interpolates: ClassVar[bool] = True
    """True where the model interpolates its positions only if an argument says so."""

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the fields of a Spec that the settings of a checkpoint tell, without its weights."""
        side = cls.read_processor(checkpoint).side
        return {"kind": "image", "rate": 0.0, "window": 0.0, "dim": int(checkpoint.config["hidden_size"]),
                "pool": cls.default_pool(checkpoint), "size": side}  # fmt: skip

    @classmethod
    def default_pool(cls, checkpoint: Checkpoint) -> str:
        """Return the pooling that its authors used."""
        return "cls"

    def load_model(self) -> Any:
        """Load the model of transformers."""
        from ...weights import pretrained

        return pretrained.load_pretrained(self.model, self.checkpoint.folder, **self.pooler_kwargs)

    def wrap(self, network: Any) -> torch.nn.Module:
        """Return the model behind the normalising."""
        from ...weights import pretrained

        settings = self.call_kwargs
        return pretrained.WrappedModel(
            network, lambda m, pixels: m(pixel_values=pixels, **settings).last_hidden_state, self.first
        )

    @property
    def call_kwargs(self) -> dict[str, Any]:
        """Argument that interpolates positions, where the size needs it."""
        _ = self.grid  # raises if the size does not divide into patches
        return {"interpolate_pos_encoding": True} if self.interpolates and self.is_resized else {}

    @property
    def pooler_kwargs(self) -> dict[str, Any]:
        """Argument that leaves the pooler out."""
        return {"add_pooling_layer": False}


class Deit(Vit):
    """Touvron et al. 2020 (arXiv 2012.12877): a class token and a distillation token before the patches."""

    prefix = 2
    model = "DeiTModel"
    head_classes: ClassVar[tuple[str, ...]] = ("DeiTForImageClassification", "DeiTForImageClassificationWithTeacher")
    processor = "DeiTImageProcessor"


class Beit(Vit):
    """Bao et al. 2021 (arXiv 2106.08254), and data2vec's images. Relative positions; the mean of the patches."""

    processor = "BeitImageProcessor"
    vector_steps = 0  # FirstSteps leaves out the relative positions, which are inside attention

    @property
    def model(self) -> str:  # type: ignore[override]
        """Named after the family in config.json."""
        return {"beit": "BeitModel", "data2vec-vision": "Data2VecVisionModel"}[self.checkpoint.model_type]

    @property
    def head_classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Named after the family in config.json."""
        return (self.model.replace("Model", "ForImageClassification"),)

    @classmethod
    def default_pool(cls, checkpoint: Checkpoint) -> str:
        """Return the pooling that the checkpoint was fine-tuned with."""
        return "mean" if checkpoint.config.get("use_mean_pooling", True) else "cls"
