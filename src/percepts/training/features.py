"""Compute an encoder's features of every window of many sources once, with a job, and read them from its directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..encoders import load_encoder, register_encoder
from ..encoders import model_spec as find
from ..encoders.pooling import concat
from ..encoders.registry import FRAMES_SUFFIX
from ..errors import EncodeError
from ..jobs.run import embed
from ..types import Clip, Encoder, Features, Inputs, Spec
from ..weights.checkpoint import is_checkpoint
from .job_vectors import load_job_vectors

if TYPE_CHECKING:
    from ..jobs.progress import Progress


class FlattenedEncoder:
    """An encoder whose vectors are the features of another: T steps of D numbers one after the other, masked ones zero.

    So the job engine keeps features as it keeps vectors: restartable, verified, and one bad file does not stop the
    others.
    """

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        self.spec = spec
        ours = not spec.weights or not is_checkpoint(spec.weights[0])
        name = spec.name.removesuffix(FRAMES_SUFFIX) if ours else spec.weights[0]
        self._inner: Encoder = load_encoder(name, runtime=runtime, threads=threads)

    @property
    def runtime(self) -> str:
        """Name of the runtime of the inner encoder."""
        return str(getattr(self._inner, "runtime", ""))

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Prepare clips as the inner encoder does."""
        return self._inner.prepare(clips)

    def encode(self, inputs: Inputs) -> Features:
        """Return (B, 1, T * D); steps that a short window lacks are zero, as masked ones are."""
        flat = concat(self._inner.encode(inputs))
        missing = self.spec.dim - flat.shape[1]
        if missing < 0:
            raise EncodeError(
                f"{self.spec.name}: expected at most {self.spec.dim} numbers of a window, as of the one looked at "
                f"first, got {flat.shape[1]}: how many frames it gives depends on the source"
            )
        # The job keeps vectors of one length; `CachedFeatures.of` finds the padding again, since it is all zero.
        flat = np.pad(flat, ((0, 0), (0, missing)))[:, None]
        return Features(np.ascontiguousarray(flat), np.ones(flat.shape[:2], bool), 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class CachedFeatures:
    """The features of many sources.

    data  (W, T, D) float32, in memory or mapped from a file
    rows  source → numbers of its windows, in order
    """

    data: np.ndarray
    rows: Mapping[str, np.ndarray]

    def of(self, sources: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Return the windows of these sources (w, T, D), their mask (w, T), and how many each source has."""
        chosen = [self.rows[source] for source in sources]
        data = self.data[np.concatenate(chosen)]
        return data, data.any(axis=2), [len(rows) for rows in chosen]


def measure_features_shape(encoder: str) -> tuple[int, int]:
    """Return (T, D) of a full window, found by encoding one."""
    model = load_encoder(encoder)
    row = model.spec
    if row.kind == "audio":
        clip = Clip(np.zeros((1, round(row.window * row.rate)), np.float32), "audio", row.rate)
    else:
        count = max(1, round(row.window * row.rate))
        # Grey, 64 by 64: the encoder resizes it to what it takes.
        clip = Clip(np.full((count, 64, 64, 3), 127, np.uint8), row.kind, row.rate)
    _, steps, dim = model.encode(model.prepare([clip])).data.shape
    return steps, dim


def cache_features(
    sources: Iterable[str],
    directory: str | Path,
    encoder: str,
    *,
    fps: float = 1.0,
    hop: float | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> CachedFeatures:
    """Compute the features of these sources. Those that the directory holds already are not computed again.

    A source that cannot be used, or that gives more steps than a full window, is in the ledger of the directory and
    missing in the result. SettingsDiffer where the directory was made with another encoder or other windows.
    `overwrite` computes everything again.
    """
    shape, row = measure_features_shape(encoder), find(encoder)
    target, dim = f"{__name__}:{FlattenedEncoder.__name__}", shape[0] * shape[1]
    # By module and class name, because workers import it again.
    register_encoder(replace(row, name=row.name + FRAMES_SUFFIX, target=target, pool="mean", dim=dim))
    done = embed(list(sources), directory, models=[row.name + FRAMES_SUFFIX], fps=fps, hop=hop, workers=workers,
                 overwrite=overwrite, on_progress=on_progress)  # fmt: skip
    # `embed` ends quietly on Ctrl-C; training must not go on with half of the features.
    if done.interrupted:
        raise KeyboardInterrupt
    found = load_job_vectors(directory)
    rows: dict[str, list[int]] = {}
    for number, source in enumerate(found.sources):
        rows.setdefault(source, []).append(number)
    return CachedFeatures(found.data.reshape(-1, *shape), {source: np.array(r) for source, r in rows.items()})
