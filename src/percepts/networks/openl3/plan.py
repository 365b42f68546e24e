"""Turn OpenL3's arrays into one list of steps, from which every runtime builds its network.

Cramer, Wu, Salamon, Bello: Look, Listen, and Learn More (ICASSP 2019). The layers are those of openl3 0.4.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

Modality = Literal["audio", "image"]
Repr = Literal["linear", "mel128", "mel256"]
Content = Literal["music", "env"]
REPRS: tuple[Repr, ...] = get_args(Repr)
CONTENTS: tuple[Content, ...] = get_args(Content)
EPSILON = 1e-3  # Keras' default for batch normalisation
BLOCK_WIDTHS = ((64, 64), (128, 128), (256, 256), (512, 512))  # two convolutions a block
CHANNELS = {"audio": 1, "image": 3}
GRID_SHAPES = {"audio": (4, 3), "image": (4, 4)}  # what the last pooling leaves of height and width
INPUT_SHAPES: dict[Repr, tuple[int, int]] = {"linear": (257, 197), "mel128": (128, 199), "mel256": (256, 199)}
IMAGE_SIDE = 224


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """One of the twelve published networks; one for images was trained beside that for audio of its name."""

    modality: Modality
    input_repr: Repr
    content: Content

    @property
    def stem(self) -> str:
        """Name of the file as upstream writes it, without version and ending."""
        return f"openl3_{self.modality}_{self.input_repr}_{self.content}"

    @property
    def name(self) -> str:
        """Name of the encoder in the registry."""
        kind = "" if self.modality == "audio" else "image-"
        return f"openl3-{kind}{self.input_repr}-{self.content}"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the input of the network."""
        return INPUT_SHAPES[self.input_repr] if self.modality == "audio" else (IMAGE_SIDE, IMAGE_SIDE)


PUBLISHED = tuple(PublishedModel(m, r, c) for m in get_args(Modality) for r in REPRS for c in CONTENTS)


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Step x * scale + shift, with one number for each channel."""

    scale: np.ndarray  # (C,)
    shift: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Conv:
    """Convolution, 3x3 at stride 1, with zeros around the input so that the size stays."""

    kernel: np.ndarray  # (3, 3, in, out), as Keras keeps it
    bias: np.ndarray
    relu: bool = False


@dataclass(frozen=True, slots=True)
class Relu:
    """Step max(x, 0)."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Maximum over (height, width) tiles; a remainder at the far edge is dropped."""

    height: int
    width: int


Step = Scale | Conv | Relu | Pool


@dataclass(frozen=True, slots=True, eq=False)
class OpenL3Weights:
    """The 48 arrays of one network, in Keras' order: 16 layers, normalisation first and convolution last."""

    modality: Modality
    arrays: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        shapes = [array.shape for array in self.arrays]
        expected = [shape for _, shape in list_arrays(self.modality)]
        if shapes != expected:
            at = next((i for i, (a, b) in enumerate(zip(shapes, expected, strict=False)) if a != b), len(shapes))
            found = f"array {at} is {shapes[at]}" if at < min(len(shapes), len(expected)) else f"{len(shapes)} arrays"
            wanted = f"{expected[at]}" if at < min(len(shapes), len(expected)) else f"{len(expected)}"
            raise ValueError(f"no OpenL3 {self.modality} network: {found}, expected {wanted}")
        if not all(np.isfinite(array).all() for array in self.arrays):
            raise ValueError(f"no OpenL3 {self.modality} network: some of its numbers are not finite")


def list_arrays(modality: Modality) -> list[tuple[str, tuple[int, ...]]]:
    """Return name and shape of the 48 arrays in order. The names are ours, since Keras' differ from file to file."""
    rows: list[tuple[str, tuple[int, ...]]] = []
    channels, layer = CHANNELS[modality], 0
    rows += _list_norm_arrays(layer, channels)
    for width in (w for block in BLOCK_WIDTHS for w in block):
        layer += 1
        rows += [(f"conv{layer}.kernel", (3, 3, channels, width)), (f"conv{layer}.bias", (width,))]
        channels = width
        if layer < 8:
            rows += _list_norm_arrays(layer, channels)
    return rows


def _list_norm_arrays(layer: int, channels: int) -> list[tuple[str, tuple[int, ...]]]:
    return [(f"norm{layer}.{part}", (channels,)) for part in ("gamma", "beta", "mean", "variance")]


def build_steps(weights: OpenL3Weights, pool: tuple[int, int]) -> list[Step]:
    """Return the steps as they were trained, up to the (4, 3) or (4, 4) grid of 512 channels that `pool` leaves."""
    arrays = iter(weights.arrays)
    out: list[Step] = [_read_norm(arrays)]
    for block in range(4):
        for half in range(2):
            conv = Conv(next(arrays), next(arrays))
            if (block, half) == (3, 1):  # the last convolution has no normalisation
                out += [conv, Pool(*pool)]
            elif weights.modality == "image" and (block, half) == (0, 1):
                out += [conv, Relu(), _read_norm(arrays)]  # this one place is the other way round upstream
            else:
                out += [conv, _read_norm(arrays), Relu()]
        if block < 3:
            out.append(Pool(2, 2))
    return out


def _read_norm(arrays: Iterator[np.ndarray]) -> Scale:
    # In float64 until the steps are folded; a runtime rounds to float32 once.
    gamma, beta, mean, variance = (np.asarray(next(arrays), np.float64) for _ in range(4))
    scale = gamma / np.sqrt(variance + EPSILON)
    return Scale(scale, beta - mean * scale)


def fold_steps(plan: Sequence[Step]) -> list[Step]:
    """Return the same network in fewer steps: a scale after a convolution joins its kernel, a relu the convolution.

    The first scale stays: the zeros around the image come after it, so no kernel can include it.
    """
    out: list[Step] = []
    for step in plan:
        last = out[-1] if out else None
        if isinstance(last, Conv) and not last.relu and isinstance(step, Scale):
            out[-1] = Conv(last.kernel * step.scale, last.bias * step.scale + step.shift)
        elif isinstance(last, Conv) and isinstance(step, Relu):
            out[-1] = replace(last, relu=True)
        else:
            out.append(step)
    return out


def last_pool_size(modality: Modality, shape: tuple[int, int]) -> tuple[int, int]:
    """Return the tile of the last pooling for an input of `shape`, which was halved three times before."""
    height, width = (side // 8 for side in shape)
    rows, columns = GRID_SHAPES[modality]
    return height // rows, width // columns


def embedding_sizes(modality: Modality) -> tuple[int, int]:
    """Return the two published sizes: that of the flat grid, and that of its maximum."""
    rows, columns = GRID_SHAPES[modality]
    return rows * columns * 512, 512


def digest(weights: OpenL3Weights) -> str:
    """sha256 of the 48 arrays: the same whichever file they came in."""
    total = hashlib.sha256(weights.modality.encode())
    for array in weights.arrays:
        total.update(np.ascontiguousarray(array, "<f4").tobytes())  # little-endian on every machine
    return total.hexdigest()
