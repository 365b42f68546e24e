"""Prepare images for OpenL3's image network, 224 x 224 pixels, as its package does or as it was trained.

The two agree on 8-bit images of exactly 224 x 224; for all others openl3 0.4 leaves the range of its training.
"""

from __future__ import annotations

import numpy as np

from .pixels import resize_and_crop

SIDE, RESIZE = 224, 256
# numpy's codes of integer types to their largest values; scikit-image divides by these.
_LARGEST = {"u1": 255, "u2": 65_535, "u4": 2**32 - 1, "i1": 127, "i2": 32_767, "i4": 2**31 - 1}


def crop_centre(image: np.ndarray) -> np.ndarray:
    """Scale the shorter side of (H, W, 3) uint8 to 256, bilinear, and cut the middle: (224, 224, 3) uint8.

    An image of exactly 224 x 224 stays as it is.

    >>> crop_centre(np.zeros((480, 640, 3), np.uint8)).shape
    (224, 224, 3)
    """
    if image.shape == (SIDE, SIDE, 3):
        return image
    return resize_and_crop(image, RESIZE, SIDE, "bilinear")


def scale_to_trained_range(pixels: np.ndarray) -> np.ndarray:
    """Scale uint8 to float32 in [-1, 1], as in training."""
    return np.asarray(pixels, np.float32) * np.float32(2 / 255) - 1


def as_openl3(images: np.ndarray) -> np.ndarray:
    """Prepare (N, H, W, 3) of any real dtype as (N, 224, 224, 3) float32, number for number as openl3 0.4.2 does.

    Exactly 224 x 224: unsigned integers to [-1, 1], signed ones to [-1, 1], floats as they are. Other sizes: a shorter
    side above 256 is scaled to 256 (bilinear, without smoothing) and to [0, 1]; one of 224 to 256 is only cut. In the
    end, if anything is above 1, all images of the array are divided by the largest value among them.
    Raises ValueError for sides below 224.
    """
    height, width = images.shape[1:3]
    if min(height, width) < SIDE:
        raise ValueError(f"expected sides of at least {SIDE} pixels, got {height}x{width}")
    if (height, width) == (SIDE, SIDE):
        batch = _scale_to_unit(images, np.float32)
        # Only unsigned integers are stretched to [-1, 1] in openl3; floats stay as they are.
        if images.dtype.kind == "u":
            batch = 2 * batch - 1
    else:
        batch = np.stack([_resize_middle(image) for image in images]).astype(np.float32)
    # Over all images at once, as openl3 does, so here a result depends on the batch.
    highest = float(np.abs(batch).max())
    return np.asarray(batch / highest if highest > 1 else batch, np.float32)


def _resize_middle(image: np.ndarray) -> np.ndarray:
    """Return the middle of (H, W, 3) as (224, 224, 3) float64; pixels outside are not computed."""
    height, width = image.shape[:2]
    if min(height, width) <= RESIZE:
        top, left = height // 2 - SIDE // 2, width // 2 - SIDE // 2
        return image[top : top + SIDE, left : left + SIDE].astype(np.float64)
    scale = RESIZE / min(height, width)
    rows, columns = (_interpolation_positions(side, int(np.round(side * scale))) for side in (height, width))
    (low, high, down), (left_, right, across) = rows, columns
    pair = _scale_to_unit(image[:, left_], np.float64), _scale_to_unit(image[:, right], np.float64)
    wide = pair[0] + (pair[1] - pair[0]) * across[None, :, None]
    middle: np.ndarray = wide[low] + (wide[high] - wide[low]) * down[:, None, None]
    return middle


def _interpolation_positions(side: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, for the middle 224 of `size` pixels, the two source pixels around each, and how far it lies between."""
    start = size // 2 - SIDE // 2
    # Pixels have their centres at halves, as in scikit-image's rescale.
    place = (np.arange(start, start + SIDE) + 0.5) * (side / size) - 0.5
    low = np.floor(place).astype(np.intp)
    return low, np.minimum(low + 1, side - 1), place - low


def _scale_to_unit(values: np.ndarray, kind: type) -> np.ndarray:
    """Divide integers by the largest of their type, to [0, 1] or [-1, 1]; floats and booleans stay."""
    largest = _LARGEST.get(values.dtype.str[1:])
    if largest is None:
        return values.astype(kind)
    wide = np.multiply(values, 1.0 / largest, dtype=np.float64 if values.dtype.itemsize > 1 else kind)
    return np.asarray(np.maximum(wide, -1.0), kind)  # -128 / 127 would be below -1
