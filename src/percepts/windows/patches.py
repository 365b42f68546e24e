"""Split an image into patches that know their place, and merge patches back into an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..support.short_repr import ShortRepr

Cover = Literal["pad", "shift", "drop"]
"""What happens at the right and lower edges where the sides are no multiple of the stride.

pad     the image is extended with `fill`, so that one more patch fits
shift   the last patch moves inward until it ends at the edge, and overlaps its neighbour more
drop    the rest that fills no patch is left out, so the image is not fully covered
"""
Mode = Literal["avg", "max", "min", "overwrite"]
Size = int | tuple[int, int]
"""Height and width; one number stands for both."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Patches(ShortRepr):
    """Patches of one image, row by row from the top left.

    data    (rows * columns, h, w, C), of the image's type
    boxes   (rows * columns, 4) int: top, bottom, left, right of each patch, which is `image[top:bottom, left:right]`;
            beyond the edge of the image where it was padded
    layout  rows and columns
    size    height and width of the image
    """

    data: np.ndarray
    boxes: np.ndarray
    layout: tuple[int, int]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        count = self.layout[0] * self.layout[1]
        if self.data.ndim != 4 or len(self.data) != count or self.boxes.shape != (count, 4):
            raise ValueError(
                f"expected ({count}, h, w, C) and ({count}, 4), got {self.data.shape} and {self.boxes.shape}"
            )

    def grid(self) -> np.ndarray:
        """Return the patches as (rows, columns, 1, h, w, C), the layout of patchify."""
        return self.data.reshape(*self.layout, 1, *self.data.shape[1:])

    def columns(self) -> np.ndarray:
        """Return one column per patch, channels first, as torch's `unfold` does: (C * h * w, rows * columns)."""
        return self.data.transpose(3, 1, 2, 0).reshape(-1, len(self.data))


def split_patches(
    image: np.ndarray,
    patch: Size,
    *,
    stride: Size | None = None,
    overlap: float = 0.0,
    cover: Cover = "pad",
    fill: float = 0,
) -> Patches:
    """Cut an image (H, W, C) of any type into patches of `patch` pixels.

    stride    pixels from one patch to the next; give either this or `overlap`
    overlap   the fraction of a patch that the next one repeats, 0 to below 1, rounded down to pixels as EMPatches does
    cover     what happens at the edges, see `Cover`; an image smaller than the patch is padded by "shift", too

    Raises ValueError for a stride beyond the patch, which would leave gaps, unless `cover="drop"` allows them.

    >>> patches = split_patches(np.zeros((500, 510, 3), np.uint8), 128)
    >>> patches.layout, patches.boxes[-1]
    ((4, 4), array([384, 512, 384, 512]))
    """
    _check_image(image)
    size = _as_pair(patch)
    steps = _patch_steps(size, stride, overlap)
    if cover not in get_args(Cover):
        raise ValueError(f"expected cover to be one of {', '.join(get_args(Cover))}, got {cover!r}")
    if cover != "drop" and (steps[0] > size[0] or steps[1] > size[1]):
        raise ValueError(
            f'expected a stride within the patch {size}, got {steps}: it leaves gaps; cover="drop" allows it'
        )
    tops, lefts = (_patch_offsets(n, p, s, cover) for n, p, s in zip(image.shape[:2], size, steps, strict=True))
    return _take_patches(image, size, tops, lefts, fill)


def split_grid(image: np.ndarray, rows: int, columns: int, *, cover: Cover = "pad", fill: float = 0) -> Patches:
    """Cut an image (H, W, C) into exactly `rows` by `columns` patches of one size.

    Where the sides cannot be divided evenly, "pad" and "shift" round the size of a patch up: "pad" extends the image
    with `fill`, "shift" spreads the overlap evenly. "drop" rounds it down and leaves the rest out.

    >>> split_grid(np.zeros((500, 510, 3), np.uint8), 2, 4, cover="shift").data.shape
    (8, 250, 128, 3)
    """
    _check_image(image)
    height, width = image.shape[:2]
    if not (0 < rows <= height and 0 < columns <= width):
        raise ValueError(f"expected 1 to {height} rows and 1 to {width} columns, got {rows} and {columns}")
    if cover not in get_args(Cover):
        raise ValueError(f"expected cover to be one of {', '.join(get_args(Cover))}, got {cover!r}")
    round_up = 0 if cover == "drop" else 1
    sides = [(n + round_up * (count - 1)) // count for n, count in ((height, rows), (width, columns))]
    offsets = [
        [i * (n - side) // max(count - 1, 1) if cover == "shift" else i * side for i in range(count)]
        for n, side, count in ((height, sides[0], rows), (width, sides[1], columns))
    ]
    return _take_patches(image, (sides[0], sides[1]), offsets[0], offsets[1], fill)


def merge_patches(patches: Patches, mode: Mode = "avg") -> np.ndarray:
    """Put the patches back where they were: (H, W, C) of their type; padding is cut off.

    mode   where patches overlap: the mean (of integers, to the nearest, half to even), the largest, the smallest, or
           the last one

    Unchanged patches give the image back exactly, in every mode (a mean of float64 up to rounding). Patches split with
    "drop" give the covered rectangle from the top left; ValueError where strides left gaps.

    >>> image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    >>> bool((merge_patches(split_patches(image, 3, overlap=0.4)) == image).all())
    True
    """
    if mode not in _MERGES:
        raise ValueError(f"expected mode to be one of {', '.join(_MERGES)}, got {mode!r}")
    if len(patches.data) == 0:
        raise ValueError(
            'expected patches to merge, got none: with cover="drop" an image smaller than one patch has none'
        )
    height, width = int(patches.boxes[:, 1].max()), int(patches.boxes[:, 3].max())
    canvas = _MERGES[mode](patches, (height, width, patches.data.shape[3]))
    return canvas[: patches.size[0], : patches.size[1]]


def grid_view(image: Any, patch: Size, stride: Size | None = None) -> Any:
    """View an image (H, W, C) as (rows, columns, 1, h, w, C), without copying; the rest at the edges is dropped.

    The shape is that of patchify's patches. An array gives an array, a torch tensor a tensor that shares its memory.

    >>> grid_view(np.zeros((512, 512, 3)), 128).shape
    (4, 4, 1, 128, 128, 3)
    """
    (height, width), (down, right) = _as_pair(patch), _as_pair(patch if stride is None else stride)
    if min(image.shape[0] - height, image.shape[1] - width) < 0:
        raise ValueError(f"expected an image of at least {height}x{width}, got {tuple(image.shape)}")
    if hasattr(image, "unfold"):  # a tensor, recognised by its method, since this module does not import torch
        tensor = image.unfold(0, height, down).unfold(1, width, right)  # (rows, columns, C, h, w)
        return tensor.permute(0, 1, 3, 4, 2).unsqueeze(2)
    windows = np.lib.stride_tricks.sliding_window_view(image, (height, width), axis=(0, 1))[::down, ::right]
    return windows.transpose(0, 1, 3, 4, 2)[:, :, None]


def _take_patches(image: np.ndarray, size: tuple[int, int], tops: list[int], lefts: list[int], fill: float) -> Patches:
    """Copy the patches at these offsets, from an image padded where they reach beyond it."""
    height, width = image.shape[:2]
    corners = np.array([(top, left) for top in tops for left in lefts], int).reshape(-1, 2)
    boxes = np.stack([corners[:, 0], corners[:, 0] + size[0], corners[:, 1], corners[:, 1] + size[1]], axis=1)
    layout = len(tops), len(lefts)
    if len(boxes) == 0:
        return Patches(np.empty((0, *size, image.shape[2]), image.dtype), boxes, layout, (height, width))
    missing = [max(0, int(boxes[:, 1].max()) - height), max(0, int(boxes[:, 3].max()) - width)]
    canvas = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), constant_values=fill) if any(missing) else image
    # A view of every position: only the chosen patches are copied.
    windows = np.lib.stride_tricks.sliding_window_view(canvas, size, axis=(0, 1))  # (H', W', C, h, w)
    data = np.ascontiguousarray(windows[corners[:, 0], corners[:, 1]].transpose(0, 2, 3, 1))
    return Patches(data, boxes, layout, (height, width))


def _patch_offsets(length: int, patch: int, step: int, cover: Cover) -> list[int]:
    """Return the offsets of the patches along one side."""
    offsets = list(range(0, length - patch + 1, step))
    if cover == "drop":
        return offsets
    if not offsets:
        return [0]
    if offsets[-1] + patch < length:
        offsets.append(length - patch if cover == "shift" else offsets[-1] + step)
    return offsets


def _average_patches(patches: Patches, shape: tuple[int, ...]) -> np.ndarray:
    """Merge by the mean, added up in float64 and rounded to the type of the patches."""
    # float64 holds sums of 8, 16 and 32-bit integers exactly.
    total = np.zeros(shape, np.float64)
    count = np.zeros((*shape[:2], 1), np.int64)
    for data, (top, bottom, left, right) in zip(patches.data, patches.boxes, strict=True):
        total[top:bottom, left:right] += data
        count[top:bottom, left:right] += 1
    _check_covered(count)
    total /= count
    integers = patches.data.dtype.kind in "iub"
    return (np.rint(total) if integers else total).astype(patches.data.dtype)


def _make_merger(
    choose: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Callable[[Patches, tuple[int, ...]], np.ndarray]:
    """Return a merge function that applies `choose` to old and new pixels; an empty place takes the new ones."""

    def merge(patches: Patches, shape: tuple[int, ...]) -> np.ndarray:
        canvas = np.zeros(shape, patches.data.dtype)
        seen = np.zeros((*shape[:2], 1), bool)
        for data, (top, bottom, left, right) in zip(patches.data, patches.boxes, strict=True):
            place = canvas[top:bottom, left:right]
            # Zeros of the empty canvas must not take part: they would win a minimum.
            place[...] = np.where(seen[top:bottom, left:right], choose(place, data), data)
            seen[top:bottom, left:right] = True
        _check_covered(seen)
        return canvas

    return merge


def _check_covered(seen: np.ndarray) -> None:
    """Raise ValueError where a pixel of the merged image belongs to no patch."""
    if not seen.all():
        raise ValueError(
            "expected patches that cover a rectangle, got gaps between them: their stride was larger than the patch"
        )


def _patch_steps(size: tuple[int, int], stride: Size | None, overlap: float) -> tuple[int, int]:
    """Return the stride in pixels, from `stride` or from `overlap`."""
    if not 0 <= overlap < 1:
        raise ValueError(f"expected an overlap of 0 to below 1, got {overlap}")
    if stride is None:
        return size[0] - int(size[0] * overlap), size[1] - int(size[1] * overlap)
    if overlap:
        raise ValueError(f"expected stride or overlap, got both: {stride = } {overlap = }")
    return _as_pair(stride)


def _as_pair(size: Size) -> tuple[int, int]:
    """Return (height, width) of a size that may be a single number."""
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"expected at least one pixel, got {size}")
    return height, width


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"expected one image, (H, W, C) of at least 1x1, got {image.shape}")


_MERGES: dict[str, Callable[[Patches, tuple[int, ...]], np.ndarray]] = {
    "avg": _average_patches,
    "max": _make_merger(np.maximum),
    "min": _make_merger(np.minimum),
    "overwrite": _make_merger(lambda there, new: new),
}
