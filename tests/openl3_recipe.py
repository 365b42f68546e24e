"""Random OpenL3 weights by a recipe that numpy alone repeats, in the file formats that openl3 wrote.

The recipe is version 1 of the one behind the reference embeddings that the unmodified openl3 0.4.2 gave (fixture
`shared`, folder openl3): draws in Keras' order from `default_rng(seed)` in float64, cast to float32.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from percepts.weights.openl3 import OpenL3Weights, write_safetensors

SEEDS = {"linear": 101, "mel128": 102, "mel256": 103, "image": 201}
WIDTHS = (64, 64, 128, 128, 256, 256, 512, 512)

WALKED = {"openl3-mel128-music-512": "mel128", "openl3-image-mel256-music-512": "image"}
"""Encoders that the tests walk with random weights, and their networks; published weights are not fetched for tests."""


def layers(what: str, seed: int | None = None) -> list[tuple[str, list[np.ndarray]]]:
    """The 16 layers of linear, mel128, mel256 or image, each "bn" or "conv" with its arrays."""
    rng = np.random.default_rng(SEEDS[what] if seed is None else seed)
    channels, place, spread = (3, 0.4, 0.35) if what == "image" else (1, -40.0, 20.0)
    made = [("bn", [
        rng.uniform(0.9, 1.1, channels),
        rng.normal(0, 0.05, channels),
        place + spread * rng.uniform(-0.1, 0.1, channels),
        spread * spread * rng.uniform(0.8, 1.2, channels),
    ])]  # fmt: skip
    for index, width in enumerate(WIDTHS):
        kernel = rng.standard_normal((3, 3, channels, width)) * np.sqrt(2 / (9 * channels))
        made.append(("conv", [kernel, rng.normal(0, 0.05, width)]))
        if index < 7:
            made.append(("bn", [
                rng.uniform(0.8, 1.2, width),
                rng.normal(0, 0.1, width),
                rng.normal(0, 0.1, width),
                rng.uniform(0.5, 1.5, width),
            ]))  # fmt: skip
        channels = width
    return [(kind, [array.astype(np.float32) for array in arrays]) for kind, arrays in made]


def arrays(what: str, seed: int | None = None) -> list[np.ndarray]:
    """The 48 arrays in order."""
    return [array for _, found in layers(what, seed) for array in found]


def h5(what: str, *, old: bool = False, seed: int | None = None) -> bytes:
    """A Keras weight file. `old`: as openl3 0.2 wrote it, its spectrogram among the layers and other names."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    names = {"bn": ("gamma", "beta", "moving_mean", "moving_variance"), "conv": ("kernel", "bias")}
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        order = [_plain(file, "input_1", {})]
        if old:
            kernels = {"real_kernels": np.ones((4, 1, 1, 3), "f"), "imag_kernels": np.ones((4, 1, 1, 3), "f")}
            order.append(_plain(file, "melspectrogram_1", {**kernels, "Variable": np.ones((3, 2), "f")}))
        for number, (kind, found) in enumerate(layers(what, seed)):
            stem = {"bn": "batch_normalization", "conv": "conv2d"}[kind]
            order.append(_plain(file, f"{stem}_{number + 40 * old}", dict(zip(names[kind], found, strict=True))))
            if kind == "bn":
                order.append(_plain(file, f"activation_{number}", {}))
        file.attrs["layer_names"] = order if old else [name.encode() for name in order]
        file.attrs["backend"] = b"tensorflow"
    return data.getvalue()


def _plain(file: Any, name: str, held: dict[str, np.ndarray]) -> str:
    group = file.create_group(name)
    group.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in held]
    for key, array in held.items():
        group.create_dataset(f"{name}/{key}:0", data=array)
    return name


def write(folder: Path, stem: str, what: str, ending: str = ".h5") -> Path:
    """A weight file of that name in `folder`: .h5, -v0_4_0.h5.gz, -v0_2_0.h5.gz, .safetensors."""
    path = folder / f"{stem}{ending}"
    if ending == ".safetensors":
        held = OpenL3Weights("image" if what == "image" else "audio", tuple(arrays(what)))
        write_safetensors(held, path)
        return path
    data = h5(what, old="v0_2_0" in ending)
    path.write_bytes(gzip.compress(data, 1) if ending.endswith(".gz") else data)
    return path


def loaded(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz, and the file closed."""
    with np.load(path) as held:
        return dict(held)
