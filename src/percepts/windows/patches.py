"""One picture in, its patches out with the place of each, and the way back: split, merge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..types import ShapeRepr

Cover = Literal["pad", "shift", "drop"]
"""What happens at the right and lower edges where the patches do not come out even.

pad     the picture is continued with `fill`, so that one more patch fits
shift   the last patch moves inward until it ends at the edge, and overlaps its neighbour more
drop    what fits no whole patch is left out: the one way that does not cover the picture
"""
Mode = Literal["avg", "max", "min", "overwrite"]
Size = int | tuple[int, int]
"""Height and width; one number stands for both."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Patches(ShapeRepr):
    """Patches of one picture, row by row from the top left.

    data    (rows * columns, h, w, C), of the picture's type
    boxes   (rows * columns, 4) int: top, bottom, left, right of each, so that `image[top:bottom, left:right]` is it;
            beyond the edge of the picture where it was padded
    layout  rows and columns
    size    height and width of the picture
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
        """Rows and columns in front: (rows, columns, 1, h, w, C), patchify's layout."""
        return self.data.reshape(*self.layout, 1, *self.data.shape[1:])

    def columns(self) -> np.ndarray:
        """One column a patch, channels first within it: (C * h * w, rows * columns), torch.nn.functional.unfold's."""
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
    """Cut a picture (H, W, C) of any type into patches of `patch` pixels.

    stride    pixels from one patch to the next; or say
    overlap   the share of a patch that the next one repeats, 0 to below 1, rounded down to pixels as EMPatches does
    cover     what happens at the edges, see Cover. A picture smaller than the patch is padded by "shift" too

    Raises ValueError for a stride beyond the patch, which would leave gaps, unless `cover="drop"` allows them.

    >>> patches = split(np.zeros((500, 510, 3), np.uint8), 128)
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
    """Cut a picture (H, W, C) into exactly `rows` by `columns` patches of one size.

    Where the sides do not divide: "pad" and "shift" round the size of a patch up, the one continuing the picture with
    `fill`, the other spreading the overlap evenly; "drop" rounds it down and leaves the rest out.

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

    Patches that were not changed give the picture back exactly, in every mode (a mean of float64 to rounding). Of a
    split by "drop" they give the rectangle from the top left that was covered; ValueError where strides left gaps.

    >>> image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    >>> bool((merge(split(image, 3, overlap=0.4)) == image).all())
    True
    """
    if mode not in _MERGES:
        raise ValueError(f"expected mode to be one of {', '.join(_MERGES)}, got {mode!r}")
    if len(patches.data) == 0:
        raise ValueError("expected patches to merge, got none: the picture was smaller than one, and dropped")
    height, width = int(patches.boxes[:, 1].max()), int(patches.boxes[:, 3].max())
    canvas = _MERGES[mode](patches, (height, width, patches.data.shape[3]))
    return canvas[: patches.size[0], : patches.size[1]]


def grid_view(image: Any, patch: Size, stride: Size | None = None) -> Any:
    """Give a picture (H, W, C) as a view (rows, columns, 1, h, w, C): nothing is copied, the rest is dropped.

    The shape of patchify's patches. An array gives an array, a torch tensor a tensor that shares its memory.

    >>> grid_view(np.zeros((512, 512, 3)), 128).shape
    (4, 4, 1, 128, 128, 3)
    """
    (height, width), (down, right) = _as_pair(patch), _as_pair(patch if stride is None else stride)
    if min(image.shape[0] - height, image.shape[1] - width) < 0:
        raise ValueError(f"expected a picture of at least {height}x{width}, got {tuple(image.shape)}")
    if hasattr(image, "unfold"):  # a tensor, known by its method: this module does without torch
        tensor = image.unfold(0, height, down).unfold(1, width, right)  # (rows, columns, C, h, w)
        return tensor.permute(0, 1, 3, 4, 2).unsqueeze(2)
    windows = np.lib.stride_tricks.sliding_window_view(image, (height, width), axis=(0, 1))[::down, ::right]
    return windows.transpose(0, 1, 3, 4, 2)[:, :, None]


def _take_patches(image: np.ndarray, size: tuple[int, int], tops: list[int], lefts: list[int], fill: float) -> Patches:
    height, width = image.shape[:2]
    corners = np.array([(top, left) for top in tops for left in lefts], int).reshape(-1, 2)
    boxes = np.stack([corners[:, 0], corners[:, 0] + size[0], corners[:, 1], corners[:, 1] + size[1]], axis=1)
    layout = len(tops), len(lefts)
    if len(boxes) == 0:
        return Patches(np.empty((0, *size, image.shape[2]), image.dtype), boxes, layout, (height, width))
    missing = [max(0, int(boxes[:, 1].max()) - height), max(0, int(boxes[:, 3].max()) - width)]
    canvas = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), constant_values=fill) if any(missing) else image
    windows = np.lib.stride_tricks.sliding_window_view(canvas, size, axis=(0, 1))  # (H', W', C, h, w)
    data = np.ascontiguousarray(windows[corners[:, 0], corners[:, 1]].transpose(0, 2, 3, 1))
    return Patches(data, boxes, layout, (height, width))


def _patch_offsets(length: int, patch: int, step: int, cover: Cover) -> list[int]:
    """Where the patches begin along one side."""
    whole = list(range(0, length - patch + 1, step))
    if cover == "drop":
        return whole
    if not whole:
        return [0]
    if whole[-1] + patch < length:
        whole.append(length - patch if cover == "shift" else whole[-1] + step)
    return whole


def _average_patches(patches: Patches, shape: tuple[int, ...]) -> np.ndarray:
    total = np.zeros(shape, np.float64)
    count = np.zeros((*shape[:2], 1), np.int64)
    for data, (top, bottom, left, right) in zip(patches.data, patches.boxes, strict=True):
        total[top:bottom, left:right] += data
        count[top:bottom, left:right] += 1
    _check_covered(count)
    total /= count
    whole = patches.data.dtype.kind in "iub"
    return (np.rint(total) if whole else total).astype(patches.data.dtype)


def _make_merger(
    choose: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Callable[[Patches, tuple[int, ...]], np.ndarray]:
    """A merge by a function of what is there and what comes; the first to come to an empty place stays."""

    def merged(patches: Patches, shape: tuple[int, ...]) -> np.ndarray:
        canvas = np.zeros(shape, patches.data.dtype)
        seen = np.zeros((*shape[:2], 1), bool)
        for data, (top, bottom, left, right) in zip(patches.data, patches.boxes, strict=True):
            place = canvas[top:bottom, left:right]
            place[...] = np.where(seen[top:bottom, left:right], choose(place, data), data)
            seen[top:bottom, left:right] = True
        _check_covered(seen)
        return canvas

    return merged


def _check_covered(seen: np.ndarray) -> None:
    if not seen.all():
        raise ValueError(
            "expected patches that cover a rectangle, got gaps between them: the stride is beyond the patch"
        )


def _patch_steps(size: tuple[int, int], stride: Size | None, overlap: float) -> tuple[int, int]:
    if not 0 <= overlap < 1:
        raise ValueError(f"expected an overlap of 0 to below 1, got {overlap}")
    if stride is None:
        return size[0] - int(size[0] * overlap), size[1] - int(size[1] * overlap)
    if overlap:
        raise ValueError(f"expected stride or overlap, got both: {stride = } {overlap = }")
    return _as_pair(stride)


def _as_pair(size: Size) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"expected at least one pixel, got {size}")
    return height, width


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"expected one picture, (H, W, C) of at least 1x1, got {image.shape}")


_MERGES: dict[str, Callable[[Patches, tuple[int, ...]], np.ndarray]] = {
    "avg": _average_patches,
    "max": _make_merger(np.maximum),
    "min": _make_merger(np.minimum),
    "overwrite": _make_merger(lambda there, new: new),
}
