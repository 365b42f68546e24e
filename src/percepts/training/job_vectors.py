"""Load the vectors of a job directory as one array: in memory where they fit, else mapped from a file."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import JobError
from ..stores.parquet import batch_vectors, committed_files, read_parts, read_specs
from ..types import Spec

IN_MEMORY = 2 << 30
"""Bytes of vectors up to which they are kept in memory, and scikit-learn fits them."""


@dataclass(frozen=True, slots=True, eq=False)
class JobVectors:
    """The vectors of one model of a job directory.

    data     (W, D) float32
    sources  (W,) path of the source of each vector
    spec     the encoder that made them
    """

    data: np.ndarray
    sources: np.ndarray
    spec: Spec


def load_job_vectors(directory: str | Path, model: str = "", *, in_memory: int = IN_MEMORY) -> JobVectors:
    """Load all vectors of one model. JobError where the directory holds those of several and none is named."""
    found, parts = read_specs(directory), committed_files(directory)
    made = [name for name in found if parts.get(name)]
    if not model and len(made) > 1:
        raise JobError(f"{directory} holds vectors of {', '.join(made)}: say which with --model")
    name = model or next(iter(made or found), "")
    if name not in found:
        raise JobError(f"{directory} holds no vectors of {name!r}; there are: {', '.join(found) or 'none'}")
    # The sources alone first: their number is the size of the array.
    sources = [s for batch in read_parts(directory, name, ["source"]) for s in batch.column("source").to_pylist()]
    data = _allocate((len(sources), found[name].dim), in_memory)
    first = 0
    for batch in read_parts(directory, name, ["vector"]):
        data[first : first + batch.num_rows] = batch_vectors(batch)
        first += batch.num_rows
    return JobVectors(data, np.array(sources, dtype=object), found[name])


def _allocate(shape: tuple[int, int], in_memory: int) -> np.ndarray:
    if shape[0] * shape[1] * 4 <= in_memory:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile() as file:  # the array holds it, and it goes with it
        return np.memmap(file, np.float32, "w+", shape=shape)
