"""Compute the tokens of every window of a source: patches, frames or colours, with their grid and times."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..encoders import model_spec as find
from ..errors import NotMedia, TruncatedMedia
from ..media import Source, probe
from ..support.outputs import output_file
from ..types import Encoder, Features, Inputs
from ..windows import Tail
from .embed import EmbedTask


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """The tokens of all windows of one source.

    data    (W, T, D) float32, the states of the model's last layer; or (W, T) int64 of a discrete vocabulary
    mask    (W, T) bool, False where a token stands for no place in the source (class token, padding)
    start, stop   (W,) seconds of the windows
    times   (W, T) seconds at which what a token stands for begins; its window's start where its grid has no time
    axes, shape   of the grid of the tokens that count, slowest first; ("row", "column") and (14, 14), say
    step    seconds between neighbours on the axis "time", 0.0 without one
    source  what they are of; "" for bytes
    """

    model: str
    data: np.ndarray
    mask: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    times: np.ndarray
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    step: float
    source: str = ""

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write .npz or .safetensors, by the end of the name, with the grid beside the arrays.

        Raises:
            ValueError: another ending.
            FileExistsError: there is a file, and not `overwrite`; the source of the tokens is never replaced.
        """
        path = Path(path)
        if path.suffix not in _WRITERS:
            raise ValueError(f"expected a name that ends in {' or '.join(_WRITERS)}, got {path.name!r}")
        arrays = {name: getattr(self, name) for name in ("data", "mask", "start", "stop", "times")}
        # Strings alone, as the metadata of safetensors demand; repr keeps every digit of the step.
        facts = {"model": self.model, "axes": ",".join(self.axes), "shape": ",".join(map(str, self.shape)),
                 "step": repr(self.step)}  # fmt: skip
        with output_file(path, inputs=[self.source], overwrite=overwrite) as file:
            _WRITERS[path.suffix](file, arrays, facts)


def tokens(source: Source, model: str, *, fps: float = 1.0, hop: float | None = None, tail: Tail = "pad") -> Tokens:
    """Return the tokens of an image, audio or a video, cut as in `embed`; discrete where the model's input is.

    Raises MediaError where the source cannot be used, TruncatedMedia where it is damaged later on.

    >>> from percepts.tasks.tokens import tokens
    >>> tokens("photo.jpg", "vit-b16").shape  # doctest: +SKIP
    (14, 14)
    """
    row = find(model)
    task = EmbedTask((row,), fps=fps, hop=hop, tail=tail)
    medium, notes = probe(source), list[str]()
    encoder = task.get_encoder(row)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    spans: list[tuple[float, float]] = []
    for piece in task.prepare_source(source, medium, notes):
        found.append(_read_tokens(encoder, piece.inputs))
        spans += piece.spans
    if notes:
        raise TruncatedMedia(notes[0])
    if not spans:
        raise NotMedia(f"{source if isinstance(source, str | Path) else 'the source'}: {task.explain_empty(medium)}")
    data, mask = (_pad_and_join([part[i] for part in found]) for i in (0, 1))
    start, stop = np.array(spans).T
    grid = getattr(encoder, "grid", None)
    axes, shape, step = (grid.axes, grid.shape, grid.step) if grid else (("token",), (data.shape[1],), 0.0)
    times = start[:, None] + _token_offsets(mask.shape[1], axes, shape, step)
    named = os.fspath(source) if isinstance(source, str | Path) else ""
    return Tokens(row.name, data, mask, start, stop, times, axes, shape, step, named)


def _read_tokens(encoder: Encoder, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    if "ids" in inputs:
        return inputs["ids"], np.ones(inputs["ids"].shape, bool)
    frames: Features = getattr(encoder, "tokens", encoder.encode)(inputs)
    return frames.data, frames.mask


def _pad_and_join(parts: list[np.ndarray]) -> np.ndarray:
    """Return the batches one after the other, with zeros after the shorter ones."""
    longest = max(part.shape[1] for part in parts)
    padded = [np.pad(p, [(0, 0), (0, longest - p.shape[1])] + [(0, 0)] * (p.ndim - 2)) for p in parts]
    return np.concatenate(padded)


def _token_offsets(count: int, axes: tuple[str, ...], shape: tuple[int, ...], step: float) -> np.ndarray:
    """Return the seconds from the start of the window, (T,); 0 for the tokens before the grid."""
    if "time" not in axes:
        return np.zeros(count)
    along = np.indices(shape)[axes.index("time")].ravel() * step
    grid = along[: min(count, along.size)]
    # Tokens beyond the grid, such as the class token, come first.
    return np.concatenate([np.zeros(count - len(grid)), grid])


def _write_npz(file: BinaryIO, arrays: Mapping[str, np.ndarray], facts: Mapping[str, str]) -> None:
    named: dict[str, Any] = {**arrays, **{name: np.array(value) for name, value in facts.items()}}
    np.savez(file, **named)


def _write_safetensors(file: BinaryIO, arrays: Mapping[str, np.ndarray], facts: Mapping[str, str]) -> None:
    from safetensors.numpy import save

    # Made in memory: `save_file` takes a path, and this file is already open under another name.
    file.write(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, dict(facts)))


_WRITERS = {".npz": _write_npz, ".safetensors": _write_safetensors}
