"""Resize and crop images as the preprocessor settings of a checkpoint say, by Pillow's steps, as in transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ..errors import WeightsError
from ..support.checkpoint_settings import MAX_SIDE
from .pixels import Resample, resize

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Of CLIP's training images: https://github.com/openai/CLIP, clip/clip.py.
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# Pillow's numbers, which is how preprocessor_config.json names a filter.
_FILTERS: Mapping[int, Resample] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True, slots=True)
class ImageProcessor:
    """Steps from (H, W, 3) uint8 to (h, w, 3) uint8: resize, then crop the middle. The network normalises.

    size     (h, w) to stretch to, or (n,) for the shorter side; None: images come in their own size
    crop     (h, w) of the middle; None: no crop
    mean, std, scale   the network computes (pixel * scale - mean) / std
    """

    size: tuple[int, ...] | None
    crop: tuple[int, int] | None
    resample: Resample
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1 / 255

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], usual: str) -> ImageProcessor:
        """Read preprocessor_config.json; missing keys have the defaults of its class, or else of the class `usual`."""
        named = str(settings.get("image_processor_type") or settings.get("feature_extractor_type") or "")
        # Older and fast classes have the defaults of the class of today.
        named = named.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast").removesuffix("Pil")
        row = {**_COMMON, **_DEFAULTS.get(named, _DEFAULTS[usual])}
        row |= {key: value for key, value in settings.items() if value is not None}
        normal = row["do_normalize"]
        return cls(
            _parse_size(row["size"], row["default_to_square"]) if row["do_resize"] else None,
            _parse_crop(row["crop_size"]) if row["do_center_crop"] else None,
            _parse_filter(row["resample"]),
            _parse_channels(row["image_mean"], "image_mean") if normal else (0.0, 0.0, 0.0),
            _parse_channels(row["image_std"], "image_std") if normal else (1.0, 1.0, 1.0),
            float(row["rescale_factor"]) if row["do_rescale"] else 1.0,
        )

    @property
    def side(self) -> int:
        """Shortest side after resizing; 0 where it does not resize."""
        return min(self.size) if self.size else 0

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the result."""
        if self.crop:
            return self.crop
        if self.size is None or len(self.size) != 2:
            raise WeightsError(f"the checkpoint's settings give images no one size ({self}): expected a crop")
        return self.size[0], self.size[1]

    def with_size(self, side: int) -> ImageProcessor:
        """Return the same steps at another shortest side; the crop keeps its proportion."""
        if not self.size or side == self.side:
            return self
        factor = side / self.side
        crop = (round(self.crop[0] * factor), round(self.crop[1] * factor)) if self.crop else None
        return replace(self, size=tuple(round(n * factor) for n in self.size), crop=crop)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Resize and crop one image."""
        if self.size:
            image = resize(image, *_resize_target(image.shape[0], image.shape[1], self.size), self.resample)
        return _crop_middle(image, self.crop) if self.crop else image


def _resize_target(height: int, width: int, size: tuple[int, ...]) -> tuple[int, int]:
    if len(size) == 2:
        return size[0], size[1]
    short, long = min(height, width), max(height, width)
    # Rounded down, as in transformers.
    new = (size[0], int(size[0] * long / short))
    return new if height <= width else (new[1], new[0])


def _crop_middle(image: np.ndarray, crop: tuple[int, int]) -> np.ndarray:
    """Crop the middle, its corner rounded down; a smaller image gets black around it, as in transformers."""
    height, width = image.shape[:2]
    if height < crop[0] or width < crop[1]:
        grown = np.zeros((max(height, crop[0]), max(width, crop[1]), 3), np.uint8)
        # Rounded up: transformers puts the odd row of black at the top.
        top, left = -(-(grown.shape[0] - height) // 2), -(-(grown.shape[1] - width) // 2)
        grown[top : top + height, left : left + width] = image
        image, (height, width) = grown, grown.shape[:2]
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    return image[top : top + crop[0], left : left + crop[1]]


def _parse_size(size: Any, to_square: bool) -> tuple[int, ...]:
    if isinstance(size, int):
        return _check_sides((size, size) if to_square else (size,), "size", size)
    if isinstance(size, dict) and size.get("shortest_edge") and not (size.get("longest_edge") or size.get("height")):
        return _check_sides((size["shortest_edge"],), "size", size)
    return _parse_sides(size, "size")


def _parse_crop(size: Any) -> tuple[int, int]:
    return _check_sides((size, size), "crop_size", size) if isinstance(size, int) else _parse_sides(size, "crop_size")


def _parse_sides(size: Any, key: str) -> tuple[int, int]:
    height, width = (size.get("height"), size.get("width")) if isinstance(size, dict) else (None, None)
    if not (isinstance(height, int) and isinstance(width, int)):
        raise WeightsError(
            f"expected {key} in preprocessor_config.json as height and width or shortest_edge, got {size!r}"
        )
    return _check_sides((height, width), key, size)


T = TypeVar("T", bound=tuple[int, ...])


def _check_sides(sides: T, key: str, said: Any) -> T:
    """Refuse a side that no network reads: settings that no reader of a file has checked come here, too."""
    if not all(1 <= side <= MAX_SIDE for side in sides):
        raise WeightsError(f"expected {key} in preprocessor_config.json to be from 1 to {MAX_SIDE:,}, got {said!r}")
    return sides


def _parse_channels(values: Any, key: str) -> tuple[float, float, float]:
    """Return the mean or deviation of the three channels."""
    found = tuple(values) if isinstance(values, list | tuple) else (values,) * 3
    if len(found) != 3 or (key == "image_std" and not all(found)):
        raise WeightsError(f"expected {key} in preprocessor_config.json to be three numbers, got {values!r}")
    return found


def _parse_filter(number: int) -> Resample:
    if number not in _FILTERS:
        raise WeightsError(f"expected resample in preprocessor_config.json to be one of {list(_FILTERS)}, got {number}")
    return _FILTERS[number]


_BILINEAR, _BICUBIC = int(Image.Resampling.BILINEAR), int(Image.Resampling.BICUBIC)
_COMMON: Mapping[str, Any] = {
    "do_resize": True, "do_center_crop": False, "crop_size": None, "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "default_to_square": True, "size": {"height": 224, "width": 224}, "image_mean": HALF,
    "image_std": HALF, "resample": _BICUBIC,
}  # fmt: skip
_CROP = {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}}
_SHORT = {"default_to_square": False, "size": {"shortest_edge": 224}}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "ViTImageProcessor": {"resample": _BILINEAR},
    "DeiTImageProcessor": {"size": {"height": 256, "width": 256}, **_CROP},
    "BeitImageProcessor": {},
    "BitImageProcessor": {**_SHORT, **_CROP, "image_mean": CLIP_MEAN, "image_std": CLIP_STD},
    "CLIPImageProcessor": {**_SHORT, **_CROP, "image_mean": CLIP_MEAN, "image_std": CLIP_STD},
    "BlipImageProcessor": {"size": {"height": 384, "width": 384}, "image_mean": CLIP_MEAN, "image_std": CLIP_STD},
    "LayoutLMv3ImageProcessor": {"resample": _BILINEAR},
    "SiglipImageProcessor": {"default_to_square": False},
    "Siglip2ImageProcessor": {"resample": _BILINEAR},
    "DINOv3ViTImageProcessor": {"resample": _BILINEAR, "image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD},
    "VideoMAEImageProcessor": {**_SHORT, **_CROP, "resample": _BILINEAR},
}
"""Defaults of each class of image processor in transformers 5.23."""
