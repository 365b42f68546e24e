"""Encode images with DINOv2 and DINOv3: a class token, registers where there are some, and a grid of patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .vit import Vit

if TYPE_CHECKING:
    import torch


class Dino2(Vit):
    """Oquab et al. 2023 (arXiv 2304.07193). Its positions are interpolated by the model itself."""

    model = "Dinov2Model"
    head_classes: ClassVar[tuple[str, ...]] = ("Dinov2ForImageClassification",)
    processor = "BitImageProcessor"
    interpolates: ClassVar[bool] = False

    @property
    def pooler_kwargs(self) -> dict[str, Any]:
        """No setting: there is no pooler, the pooled output is the class token."""
        return {}

    def layers(self, network: Any) -> torch.nn.ModuleList:
        """Return the layers of the encoder."""
        return network.encoder.layer  # type: ignore[no-any-return]


class Dino2Registers(Dino2):
    """Darcet et al. 2023 (arXiv 2309.16588): registers between the class token and the patches."""

    model = "Dinov2WithRegistersModel"
    head_classes: ClassVar[tuple[str, ...]] = ("Dinov2WithRegistersForImageClassification",)

    @property
    def prefix(self) -> int:  # type: ignore[override]
        """The class token and the registers."""
        return 1 + int(self.config.get("num_register_tokens", 4))  # default of Dinov2WithRegistersConfig


class Dino3(Dino2):
    """Siméoni et al. 2025 (arXiv 2508.10104): rotary positions, so every size is as good as its own.

    Its own processor resizes floats where this resizes bytes: a pixel differs by at most half a level of 255.
    """

    model = "DINOv3ViTModel"
    head_classes: ClassVar[tuple[str, ...]] = ()
    processor = "DINOv3ViTImageProcessor"
    vector_steps = 0  # FirstSteps knows no rotary positions

    @property
    def prefix(self) -> int:  # type: ignore[override]
        """The class token and the registers."""
        return 1 + int(self.config.get("num_register_tokens", 0))  # default of DINOv3ViTConfig
