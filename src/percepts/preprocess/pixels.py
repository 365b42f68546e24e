"""Pictures in, the pixels a checkpoint was trained on out: resize, crop, normalise, by its own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

Resample = Literal["nearest", "bilinear", "bicubic", "lanczos"]
"""Pillow's filters. All but nearest widen with the scale, so that nothing aliases."""
Fit = Literal["pad", "crop", "stretch"]


def resize_and_crop(
    image: np.ndarray, resize: int = 256, crop: int = 224, resample: Resample = "bicubic"
) -> np.ndarray:
    """Shrink or grow the shorter side to `resize`, then cut the central square: (H, W, 3) → (crop, crop, 3) uint8.

    Computes only the pixels that survive the cut, and is within one level of resizing all, first across and then down,
    and then cutting. The longer side is rounded down, the corner of the cut half to even, as torchvision does. Any
    picture of at least one pixel will do.

    >>> shorter_side_crop(np.zeros((480, 640, 3), np.uint8)).shape
    (224, 224, 3)
    """
    height, width = _check_image(image)
    if not 0 < crop <= resize:
        raise ValueError(f"expected 0 < crop <= resize, got {crop = } {resize = }")
    new_height, new_width = scale_shorter_side(height, width, resize)
    rows, columns = _source_span(height, new_height, crop), _source_span(width, new_width, crop)
    return np.asarray(_scale_part(_to_pillow(image), rows, columns, crop, _find_filter(resample)))


def scale_shorter_side(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width with the shorter side at `size`, the longer rounded down.

    >>> shorter_side(480, 641, 256)
    (256, 341)
    """
    if height <= width:
        return size, size * width // height
    return size * height // width, size


def resize(image: np.ndarray, height: int, width: int, resample: Resample = "bicubic") -> np.ndarray:
    """Scale to (height, width, 3) uint8, whatever that does to the shape of things.

    >>> resize(np.zeros((480, 640, 3), np.uint8), 224, 224).shape
    (224, 224, 3)
    """
    _check_image(image)
    if min(height, width) < 1:
        raise ValueError(f"expected at least one pixel, got {height = } {width = }")
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(_to_pillow(image).resize((width, height), _find_filter(resample)))


def center_crop(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut the middle out: a view, (height, width, 3). ValueError where the picture is smaller.

    >>> center_crop(np.zeros((480, 640, 3), np.uint8), 224, 224).shape
    (224, 224, 3)
    """
    full = _check_image(image)
    if not (0 < height <= full[0] and 0 < width <= full[1]):
        raise ValueError(f"expected a crop within {full[0]}x{full[1]}, got {height}x{width}: resize first")
    top, left = round((full[0] - height) / 2), round((full[1] - width) / 2)
    return image[top : top + height, left : left + width]


def to_square(
    image: np.ndarray, size: int, fit: Fit, *, resample: Resample = "bicubic", fill: Sequence[int] = (0, 0, 0)
) -> np.ndarray:
    """Make a square (size, size, 3) uint8, in one of three ways that must be chosen.

    fit   "crop" loses the ends of the longer side, "pad" keeps all and adds bars of colour `fill`, "stretch" keeps
          all and bends it

    >>> to_square(np.full((100, 200, 3), 255, np.uint8), 4, "pad")[:, 0, 0]
    array([  0, 255, 255,   0], dtype=uint8)
    """
    if fit == "crop":
        return resize_and_crop(image, size, size, resample)
    if fit == "stretch":
        return resize(image, size, size, resample)
    if fit != "pad":
        raise ValueError(f"expected fit to be pad, crop or stretch, got {fit!r}")
    height, width = _check_image(image)
    scale = size / max(height, width)
    inner = resize(image, max(1, round(height * scale)), max(1, round(width * scale)), resample)
    out = np.full((size, size, 3), fill, np.uint8)
    top, left = (size - inner.shape[0]) // 2, (size - inner.shape[1]) // 2
    out[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return out


def normalise(
    pixels: np.ndarray, mean: Sequence[float], std: Sequence[float], *, scale: float = 1.0, channels_first: bool = True
) -> np.ndarray:
    """(pixels * scale - mean) / std for each channel, float32: (..., H, W, 3) uint8 → (..., 3, H, W), or as it came.

    The numbers are the checkpoint's: mean and std of 0..255 pixels go with scale 1, those of 0..1 pixels with 1 / 255.

    >>> normalise(np.full((1, 2, 2, 3), 255, np.uint8), (127.0,) * 3, (128.0,) * 3)[0, :, 0, 0]
    array([1., 1., 1.], dtype=float32)
    """
    if pixels.dtype != np.uint8 or pixels.ndim < 3 or pixels.shape[-1] != 3:
        raise ValueError(f"expected (..., H, W, 3) uint8, got {pixels.dtype} {pixels.shape}")
    if len(mean) != 3 or len(std) != 3 or not all(std):
        raise ValueError(f"expected three means and three deviations other than 0, got {mean = } {std = }")
    factor = (scale / np.asarray(std, np.float64)).astype(np.float32)
    shift = (np.asarray(mean, np.float64) / np.asarray(std, np.float64)).astype(np.float32)
    out = np.empty(pixels.shape, np.float32)
    if channels_first:
        out = np.empty((*pixels.shape[:-3], 3, *pixels.shape[-3:-1]), np.float32)
    for c in range(3):
        plane = out[..., c, :, :] if channels_first else out[..., c]
        np.multiply(pixels[..., c], factor[c], out=plane)
        plane -= shift[c]
    return out


def _source_span(old: int, new: int, crop: int) -> tuple[float, float]:
    """Where the central `crop` of `new` pixels lies on the `old` ones."""
    first = round((new - crop) / 2)
    return first * old / new, (first + crop) * old / new


def _scale_part(
    picture: Image.Image, rows: tuple[float, float], columns: tuple[float, float], size: int, resample: Image.Resampling
) -> Image.Image:
    """Scale a part of the picture to a square: across, then down.

    Pillow 13 goes first in the direction that it takes for cheaper. What overshoots at hard edges is cut at 0 and 255
    in between, so the order shows, by up to six levels on photographs. In upright pictures it would go down first:
    there the two steps are told apart, with as many rows above and below as the filter looks at.
    """
    if picture.height <= picture.width:
        return picture.resize((size, size), resample, box=(columns[0], rows[0], columns[1], rows[1]))
    reach = _SUPPORT * max(1.0, (rows[1] - rows[0]) / size) + 1
    top, bottom = max(0, int(rows[0] - reach)), min(picture.height, int(rows[1] + reach) + 1)
    across = picture.resize((size, bottom - top), resample, box=(columns[0], top, columns[1], bottom))
    return across.resize((size, size), resample, box=(0, rows[0] - top, size, rows[1] - top))


def _to_pillow(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image))


def _find_filter(resample: Resample) -> Image.Resampling:
    if resample not in _FILTERS:
        raise ValueError(f"expected resample to be one of {', '.join(_FILTERS)}, got {resample!r}")
    return _FILTERS[resample]


def _check_image(image: np.ndarray) -> tuple[int, int]:
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"expected one picture, (H, W, 3) uint8 of at least 1x1, got {image.dtype} {image.shape}")
    return image.shape[0], image.shape[1]


_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_SUPPORT = 3  # source pixels that Lanczos, the widest, looks at to either side of a point, at scale 1
