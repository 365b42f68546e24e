"""Load OpenL3's networks by name or weight file, with `predict` as in Keras."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ...networks.openl3 import runner
from ...networks.openl3.plan import (
    IMAGE_SIDE,
    INPUT_SHAPES,
    REPRS,
    Modality,
    OpenL3Weights,
    PublishedModel,
    embedding_sizes,
    last_pool_size,
)
from ...preprocess.openl3 import FRONTENDS, WINDOW, spectrogram
from ...runtimes.row_pool import usable_cores
from ...weights import openl3
from . import dense
from .openl3_exceptions import OpenL3Error

VALID_FRONTENDS = ("librosa", "kapre", "trained")
"""openl3's two, and the one of openl3 0.3, which the networks were trained with."""
# openl3 has these names in its `models`, so they are kept.
VALID_INPUT_REPRS = ("linear", "mel128", "mel256")
VALID_CONTENT_TYPES = ("music", "env")
VALID_AUDIO_EMBEDDING_SIZES = (6144, 512)
VALID_IMAGE_EMBEDDING_SIZES = (8192, 512)
AUDIO_POOLING_SIZES = {
    # 512 channels: their grid, an eighth of the input each way, is pooled to one cell.
    name: {6144: last_pool_size("audio", shape), 512: (shape[0] // 8, shape[1] // 8)}
    for name, shape in INPUT_SHAPES.items()
}
IMAGE_POOLING_SIZES = {8192: (7, 7), 512: (28, 28)}


class EmbeddingModel:
    """A loaded network, made by the `load_*` functions.

    modality        audio or image
    input_repr      linear, mel128 or mel256; None for an image network from a path
    embedding_size  length of its embeddings
    frontend        kapre, librosa or trained; None for images
    path            the weight file
    """

    def __init__(
        self,
        path: Path,
        modality: Modality,
        input_repr: str | None,
        size: int,
        frontend: str | None,
        net: _WeightFileNetwork,
    ) -> None:
        self.path, self.modality, self.input_repr = path, modality, input_repr
        self.embedding_size, self.frontend = size, frontend
        self._net = net
        self._shape = INPUT_SHAPES[input_repr] if modality == "audio" else (IMAGE_SIDE, IMAGE_SIDE)  # type: ignore[index]

    def __repr__(self) -> str:
        return f"EmbeddingModel({self.path.name}, {self.input_repr}, {self.embedding_size}, {self.frontend})"

    @property
    def runtime(self) -> str:
        """The library that runs it: ncnn, onnx, openvino or torch."""
        return self._net.runtime

    @property
    def weights(self) -> OpenL3Weights:
        """The 48 arrays."""
        return self._net.weights

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """(None, 1, 48000) with the frontend inside, (None, F, T, 1) for librosa, or (None, 224, 224, 3) for images."""
        if self.modality == "image":
            return (None, IMAGE_SIDE, IMAGE_SIDE, 3)
        return (None, *self._shape, 1) if self.frontend == "librosa" else (None, 1, WINDOW)

    @property
    def output_shape(self) -> tuple[int | None, int]:
        """(None, D)."""
        return (None, self.embedding_size)

    def predict(self, x: np.ndarray, batch_size: int = 32, verbose: Any = 0) -> np.ndarray:
        """Embed (N, *input_shape[1:]); return (N, D) float32. `batch_size` and `verbose` have no effect.

        Raises:
            OpenL3Error: the input has another shape.
        """
        x = np.asarray(x)
        if x.ndim != len(self.input_shape) or x.shape[1:] != self.input_shape[1:]:
            raise OpenL3Error(f"Invalid input of shape {x.shape}. {self} takes {self.input_shape}")
        if self.modality == "image":
            return self.from_network_inputs(np.moveaxis(x, -1, 1))
        if self.frontend == "librosa":
            return self.from_network_inputs(np.moveaxis(x, -1, 1))
        return self.from_windows(x[:, 0])

    __call__ = predict  # Keras models can be called, too

    def from_windows(self, windows: np.ndarray) -> np.ndarray:
        """Embed samples (B, 48000) with the frontend and the network, on all cores; return (B, D)."""
        if windows.dtype.kind != "f":
            windows = windows.astype(np.float64)
        return self._map(lambda window: self._spectrogram(window)[None], windows)

    def from_network_inputs(self, batch: np.ndarray) -> np.ndarray:
        """Embed the network's own input (B, C, H, W); return (B, D)."""
        return self._map(lambda item: item, batch)

    def _spectrogram(self, window: np.ndarray) -> np.ndarray:
        made: np.ndarray = spectrogram(window[None], str(self.input_repr), str(self.frontend))[0]
        return made

    def from_stream(self, blocks: Iterable[np.ndarray], hop: int, lead: int) -> Iterator[np.ndarray]:
        """Embed blocks (N,) at 48 kHz, after `lead` zeros, in the dense mode; yield batches (b, D): see dense.py."""
        kind = str(self.frontend), str(self.input_repr)
        net, size = self._net, self.embedding_size
        return dense.compute_dense_vectors(
            blocks, hop, lead, kind, net.columns(self._shape[0]), size, net.threads, net.map
        )

    def _map(self, prepare: Callable[[np.ndarray], np.ndarray], items: np.ndarray) -> np.ndarray:
        if self._net.batched and len(items):
            grids = self._net(self._shape, np.stack([prepare(item) for item in items]))
            return runner.pool_grids(grids, self.embedding_size)

        def one(item: np.ndarray) -> np.ndarray:
            grid = self._net(self._shape, prepare(item)[None].astype(np.float32, copy=False))
            return runner.pool_grids(grid, self.embedding_size)

        found = list(self._net.map(one, items))
        return np.concatenate(found) if found else np.empty((0, self.embedding_size), np.float32)


class _WeightFileNetwork:
    """The network of one weight file, for any size, frontend and representation."""

    def __init__(self, weights: OpenL3Weights, runtime: str, threads: int | None) -> None:
        self.weights, self.runtime = weights, runner.choose_runtime(runtime)
        self.batched = self.runtime.startswith("torch")  # torch has its own threads, and a GPU needs batches
        self.threads = 1 if self.batched else threads or usable_cores()
        self.map = ThreadPoolExecutor(self.threads, "openl3").map if self.threads > 1 else map
        self._grids: dict[tuple[int, int], runner.GridFunction] = {}
        self._columns: dict[int, runner.GridFunction] = {}
        self._lock = threading.Lock()  # the threads of a pool want the same network, which is built once

    def __call__(self, shape: tuple[int, int], batch: np.ndarray) -> np.ndarray:
        with self._lock:
            if shape not in self._grids:
                # One thread each, since windows run side by side in the pool.
                self._grids[shape] = runner.build_grid(self.weights, shape, self.runtime, 1)
        return self._grids[shape](batch)

    def columns(self, height: int) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from decibels (F, T) to (512, F // 8, T // 8), where F is `height`."""
        with self._lock:
            if height not in self._columns:
                self._columns[height] = runner.build_columns(self.weights, height, self.runtime)
        run = self._columns[height]
        return lambda levels: run(levels[None, None])[0].reshape(height // 8, -1, 512).transpose(2, 0, 1)


# Few, since each keeps its weights and its built networks in memory.
@lru_cache(maxsize=4)
def _load_network(
    path: Path, stamp: tuple[int, int], modality: Modality, runtime: str, threads: int | None
) -> _WeightFileNetwork:
    """Return the one network of a weight file; openl3 makes a new one for every call (its issue 38)."""
    return _WeightFileNetwork(openl3.read_weights(path, modality), runtime, threads)


def load_audio_embedding_model(
    input_repr: str,
    content_type: str,
    embedding_size: int,
    frontend: str = "kapre",
    *,
    weights: str | Path | None = None,
    runtime: str = "auto",
    threads: int | None = None,
) -> EmbeddingModel:
    """Load a published audio network.

    input_repr      linear, mel128 or mel256
    content_type    music or env
    embedding_size  6144 or 512
    frontend        kapre or librosa as openl3 0.4 has them, trained as openl3 0.3 had it
    weights         a folder to look in first; else PERCEPTS_OPENL3_WEIGHTS, the cache, upstream's address
    runtime         auto: the fastest installed of ncnn, onnx, openvino, torch
    threads         windows computed at a time; None for one per core

    Raises OpenL3Error for other values, WeightsError where the weights cannot be fetched or are damaged.
    """
    path = _find_published("audio", input_repr, content_type, weights)
    return load_audio_embedding_model_from_path(
        path, input_repr, embedding_size, frontend, runtime=runtime, threads=threads
    )


def load_audio_embedding_model_from_path(
    model_path: str | Path,
    input_repr: str,
    embedding_size: int,
    frontend: str = "kapre",
    *,
    runtime: str = "auto",
    threads: int | None = None,
) -> EmbeddingModel:
    """Load an audio network from a file: h5, h5.gz or safetensors. Arguments as for load_audio_embedding_model."""
    if frontend not in FRONTENDS:
        raise OpenL3Error(f"Invalid frontend {frontend!r}. Must be one of {', '.join(FRONTENDS)}")
    if input_repr not in REPRS:
        raise OpenL3Error(f'Invalid input representation "{input_repr}"')
    size = _check_size("audio", embedding_size)
    path = Path(model_path)
    return EmbeddingModel(path, "audio", input_repr, size, frontend, _load_model(path, "audio", runtime, threads))


def load_image_embedding_model(
    input_repr: str,
    content_type: str,
    embedding_size: int,
    *,
    weights: str | Path | None = None,
    runtime: str = "auto",
    threads: int | None = None,
) -> EmbeddingModel:
    """Load a published image network, the one trained with the audio network of these names; sizes 8192 and 512."""
    path = _find_published("image", input_repr, content_type, weights)
    model = load_image_embedding_model_from_path(path, embedding_size, runtime=runtime, threads=threads)
    model.input_repr = input_repr  # a weight file of images does not say it
    return model


def load_image_embedding_model_from_path(
    model_path: str | Path, embedding_size: int, *, runtime: str = "auto", threads: int | None = None
) -> EmbeddingModel:
    """Load an image network from a weight file: h5, h5.gz or safetensors."""
    size, path = _check_size("image", embedding_size), Path(model_path)
    return EmbeddingModel(path, "image", None, size, None, _load_model(path, "image", runtime, threads))


def get_audio_embedding_model_path(input_repr: str, content_type: str) -> str:
    """Return the path of the weights of an audio network; where they are missing, the path to put them at."""
    return _describe_model(PublishedModel("audio", input_repr, content_type))  # type: ignore[arg-type]


def get_image_embedding_model_path(input_repr: str, content_type: str) -> str:
    """Return the path of the weights of an image network; where they are missing, the path to put them at."""
    return _describe_model(PublishedModel("image", input_repr, content_type))  # type: ignore[arg-type]


AUDIO_MODELS: dict[str, Callable[..., EmbeddingModel]] = {
    name: partial(load_audio_embedding_model_from_path, input_repr=name) for name in INPUT_SHAPES
}


def _load_model(path: Path, modality: Modality, runtime: str, threads: int | None) -> _WeightFileNetwork:
    status = path.stat()
    # Time and size are part of the key: a file that was replaced is read again.
    return _load_network(path.resolve(), (status.st_mtime_ns, status.st_size), modality, runtime, threads)


def _find_published(modality: Modality, input_repr: str, content_type: str, weights: str | Path | None) -> Path:
    if input_repr not in VALID_INPUT_REPRS:
        raise OpenL3Error(f'Invalid input representation "{input_repr}"')
    if content_type not in VALID_CONTENT_TYPES:
        raise OpenL3Error(f'Invalid content type "{content_type}"')
    model = PublishedModel(modality, input_repr, content_type)  # type: ignore[arg-type]
    return openl3.local_path(model, Path(weights) if weights else None)


def _check_size(modality: Modality, size: int) -> int:
    if size not in embedding_sizes(modality):
        raise OpenL3Error(
            f"Invalid embedding size {size!r}. Must be one of {', '.join(map(str, embedding_sizes(modality)))}"
        )
    return size


def _describe_model(model: PublishedModel) -> str:
    return str(openl3.find_file(model) or openl3.cache_folder() / f"{model.stem}.h5")
