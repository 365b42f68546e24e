"""Resize, crop and normalise images to the pixels that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

Resample = Literal["nearest", "bilinear", "bicubic", "lanczos"]
"""Pillow's filters. All but nearest widen with the scale, which prevents aliasing."""
Fit = Literal["pad", "crop", "stretch"]


def resize_and_crop(
    image: np.ndarray, resize: int = 256, crop: int = 224, resample: Resample = "bicubic"
) -> np.ndarray:
    """Scale the shorter side to `resize`, then cut the central square: (H, W, 3) → (crop, crop, 3) uint8.

    Computes only the pixels that survive the cut, and is within one level of resizing the image, first across and then
    down, and cutting afterwards. The longer side is rounded down, the corner of the cut half to even, as torchvision
    does. Any image of at least one pixel will do.

    >>> resize_and_crop(np.zeros((480, 640, 3), np.uint8)).shape
    (224, 224, 3)
    """
    height, width = _check_image(image)
    if not 0 < crop <= resize:
        raise ValueError(f"expected 0 < crop <= resize, got {crop = } {resize = }")
    new_height, new_width = scale_shorter_side(height, width, resize)
    rows, columns = _source_span(height, new_height, crop), _source_span(width, new_width, crop)
    return np.asarray(_scale_part(_to_pillow(image), rows, columns, crop, _find_filter(resample)))


def scale_shorter_side(height: int, width: int, size: int) -> tuple[int, int]:
    """Return height and width with the shorter side at `size`, the longer one rounded down.

    >>> scale_shorter_side(480, 641, 256)
    (256, 341)
    """
    if height <= width:
        return size, size * width // height
    return size * height // width, size


def resize(image: np.ndarray, height: int, width: int, resample: Resample = "bicubic") -> np.ndarray:
    """Scale to (height, width, 3) uint8; the aspect ratio is not kept.

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
    """Cut out the middle as a view, (height, width, 3). ValueError where the image is smaller.

    >>> center_crop(np.zeros((480, 640, 3), np.uint8), 224, 224).shape
    (224, 224, 3)
    """
    full = _check_image(image)
    if not (0 < height <= full[0] and 0 < width <= full[1]):
        raise ValueError(f"expected a crop within {full[0]}x{full[1]}, got {height}x{width}: resize first")
    # round() goes half to even, as torchvision's center_crop does.
    top, left = round((full[0] - height) / 2), round((full[1] - width) / 2)
    return image[top : top + height, left : left + width]


def to_square(
    image: np.ndarray, size: int, fit: Fit, *, resample: Resample = "bicubic", fill: Sequence[int] = (0, 0, 0)
) -> np.ndarray:
    """Make a square (size, size, 3) uint8, in one of three ways.

    fit   "crop" loses the ends of the longer side, "pad" adds bars of colour `fill`, "stretch" changes the aspect ratio

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
    # At least one pixel, however thin the image.
    inner = resize(image, max(1, round(height * scale)), max(1, round(width * scale)), resample)
    out = np.full((size, size, 3), fill, np.uint8)
    top, left = (size - inner.shape[0]) // 2, (size - inner.shape[1]) // 2
    out[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return out


def normalise(
    pixels: np.ndarray, mean: Sequence[float], std: Sequence[float], *, scale: float = 1.0, channels_first: bool = True
) -> np.ndarray:
    """Compute (pixels * scale - mean) / std per channel, float32: (..., H, W, 3) uint8 → (..., 3, H, W), or as it came.

    The numbers belong to the model: mean and std of 0..255 pixels go with scale 1, those of 0..1 pixels with 1 / 255.

    >>> normalise(np.full((1, 2, 2, 3), 255, np.uint8), (127.0,) * 3, (128.0,) * 3)[0, :, 0, 0]
    array([1., 1., 1.], dtype=float32)
    """
    if pixels.dtype != np.uint8 or pixels.ndim < 3 or pixels.shape[-1] != 3:
        raise ValueError(f"expected (..., H, W, 3) uint8, got {pixels.dtype} {pixels.shape}")
    if len(mean) != 3 or len(std) != 3 or not all(std):
        raise ValueError(f"expected three means and three deviations other than 0, got {mean = } {std = }")
    # One multiplication and one subtraction per pixel instead of three steps.
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
    """Return the start and end of the central `crop` of `new` pixels, in pixels of the source."""
    first = round((new - crop) / 2)
    return first * old / new, (first + crop) * old / new


def _scale_part(
    image: Image.Image, rows: tuple[float, float], columns: tuple[float, float], size: int, resample: Image.Resampling
) -> Image.Image:
    """Scale a part of the image to a square: across, then down.

    Pillow 13 begins with the direction that it estimates as cheaper. Values that overshoot at hard edges are clipped to
    0 and 255 in between, so the order shows, by up to six levels on photographs. In upright images Pillow would go down
    first: for these the two steps are made separately, with as many rows above and below as the filter needs.
    """
    if image.height <= image.width:
        return image.resize((size, size), resample, box=(columns[0], rows[0], columns[1], rows[1]))
    reach = _SUPPORT * max(1.0, (rows[1] - rows[0]) / size) + 1
    top, bottom = max(0, int(rows[0] - reach)), min(image.height, int(rows[1] + reach) + 1)
    across = image.resize((size, bottom - top), resample, box=(columns[0], top, columns[1], bottom))
    return across.resize((size, size), resample, box=(0, rows[0] - top, size, rows[1] - top))


def _to_pillow(image: np.ndarray) -> Image.Image:
    """Wrap an array as a Pillow image."""
    return Image.fromarray(np.ascontiguousarray(image))


def _find_filter(resample: Resample) -> Image.Resampling:
    """Return Pillow's filter of that name; ValueError for an unknown one."""
    if resample not in _FILTERS:
        raise ValueError(f"expected resample to be one of {', '.join(_FILTERS)}, got {resample!r}")
    return _FILTERS[resample]


def _check_image(image: np.ndarray) -> tuple[int, int]:
    """Return height and width; ValueError unless it is one (H, W, 3) uint8 image."""
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"expected one image, (H, W, 3) uint8 of at least 1x1, got {image.dtype} {image.shape}")
    return image.shape[0], image.shape[1]


_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_SUPPORT = 3  # source pixels on either side of a point that Lanczos, the widest filter, needs at scale 1
