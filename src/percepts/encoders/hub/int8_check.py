"""Compare int8 with float32 vectors of made-up media: centred cosine, and agreement of nearest neighbours.

Raw cosine flatters: vectors of most models lie in a narrow cone, so 1 - cos of 1e-3 can be a tenth of the distance
between two images. Hence the mean is taken off first, and the nearest neighbours are compared.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np

from ... import weights
from ...errors import EncodeError
from ...runtimes.kept import read_record, write_record
from ...support.cache import cache_root, processor_id
from ...types import Clip, Kind, Spec
from ..pooling import encode_vectors, normalise

log = logging.getLogger(__name__)

INT8_UNCHECKED = "int8-unchecked"
"""Precision that uses int8 without the check."""
SAMPLE_COUNT = 16
NEIGHBOURS = 3
MIN_COSINE, MIN_AGREEMENT = 0.95, 0.85
"""Lowest values that pass. Centred cosines on random weights (bench/): ViT-B/16 0.996, CLIP B/32 0.993, AST 0.950."""


@dataclass(frozen=True, slots=True)
class Int8Report:
    """Result of the check.

    cosine     mean over the samples of the cosine of both vectors, less their mean
    agreement  part of the three nearest neighbours that stay the same
    runtime    runtime that ran int8
    """

    cosine: float
    agreement: float
    runtime: str = ""

    @property
    def is_good(self) -> bool:
        """True where both are high enough."""
        return self.cosine >= MIN_COSINE and self.agreement >= MIN_AGREEMENT


class Checkable(Protocol):
    """An encoder that can be made again at another precision."""

    spec: Spec
    requested_runtime: str

    def at_precision(self, precision: str, runtime: str) -> Any:
        """Return the same encoder at this precision, run by this runtime."""


def check_int8(encoder: Checkable) -> Int8Report:
    """Compare an encoder with itself at float32, once per weights, machine and versions. EncodeError if too far off."""
    path = cache_root() / "canaries" / f"{_report_key(encoder)}.json"
    if (kept := read_record(path)) is not None:
        verdict = Int8Report(**kept)
    else:
        log.info(
            "%s: comparing int8 with float32 on %d made-up items; this happens once", encoder.spec.name, SAMPLE_COUNT
        )
        exact, _ = _encode_samples(encoder, "float32")
        rough, runtime = _encode_samples(encoder, INT8_UNCHECKED)
        verdict = replace(compare_vectors(exact, rough), runtime=runtime)
        write_record(path, asdict(verdict))
    words = (
        f"{encoder.spec.name} int8 against float32: centred cosine {verdict.cosine:.4f} (bar {MIN_COSINE}), "
        f"{verdict.agreement:.0%} of the {NEIGHBOURS} nearest neighbours kept (bar {MIN_AGREEMENT:.0%})"
    )
    _warn_once(words)
    if not verdict.is_good:
        raise EncodeError(f"{words}. Take float32, or --precision {INT8_UNCHECKED} if you know better")
    return verdict


@cache
def _warn_once(words: str) -> None:
    """Log a warning once in a process, however many networks and batches cause it."""
    log.warning("%s", words)


def compare_vectors(exact: np.ndarray, rough: np.ndarray) -> Int8Report:
    """Return how well (N, D) vectors of the same items at two precisions agree.

    >>> compare_vectors(np.eye(8, dtype=np.float32), np.eye(8, dtype=np.float32)).is_good
    True
    """
    # The mean of float32 for both, or a shift of all int8 vectors would go unseen.
    mean = exact.mean(axis=0)
    first, second = normalise(exact - mean), normalise(rough - mean)
    kept = [
        len(set(a) & set(b)) / NEIGHBOURS
        for a, b in zip(_find_neighbours(first), _find_neighbours(second), strict=True)
    ]
    return Int8Report(float((first * second).sum(axis=1).mean()), float(np.mean(kept)))


def _find_neighbours(vectors: np.ndarray) -> np.ndarray:
    closeness = vectors @ vectors.T
    np.fill_diagonal(closeness, -np.inf)  # an item is no neighbour of itself
    # Stable: equal distances have the same order for both precisions.
    order: np.ndarray = np.argsort(-closeness, axis=1, kind="stable")[:, :NEIGHBOURS]
    return order


def _encode_samples(encoder: Checkable, precision: str) -> tuple[np.ndarray, str]:
    """Return the vectors of the samples and the runtime that made them: torch at float32, the reference for all."""
    runtime = encoder.requested_runtime if precision == INT8_UNCHECKED else "torch"
    other = encoder.at_precision(precision, runtime)
    if encoder.spec.kind == "text":
        return np.asarray(other.encode_text(_make_texts())), other.runtime
    clips = [_MAKE_CLIP[encoder.spec.kind](encoder.spec, i) for i in range(SAMPLE_COUNT)]
    return encode_vectors(other, other.prepare(clips)), other.runtime


def _report_key(encoder: Checkable) -> str:
    spec = encoder.spec
    # With the processor: int8 kernels differ between processors, and so do their vectors.
    facts = [weights.hash_weights(spec.weights), spec.size, spec.window, spec.pool, processor_id()]
    # Last the revision of this check: raise it when its samples or its comparison change.
    facts += [version("torch"), version("onnxruntime"), encoder.requested_runtime, SAMPLE_COUNT, "4"]
    return hashlib.sha256("|".join(map(str, facts)).encode()).hexdigest()[:32]


def _make_image(spec: Spec, i: int) -> Clip:
    """Return soft colours with a few shapes, (1, 240, 320, 3)."""
    return Clip(_draw_scene(i, 0.0)[None], "image", 0.0)


def _make_video(spec: Spec, i: int) -> Clip:
    """Return the same shapes, which move."""
    frames = round(spec.window * spec.rate)
    return Clip(np.stack([_draw_scene(i, 4.0 * k) for k in range(frames)]), "video", spec.rate)


def _make_audio(spec: Spec, i: int) -> Clip:
    """Return tones under a slow envelope, with noise, of at most ten seconds."""
    rng = np.random.default_rng(i)
    times = np.arange(round(min(spec.window, 10.0) * spec.rate)) / spec.rate
    tones = sum(np.sin(2 * np.pi * pitch * times * (1 + 0.02 * i)) for pitch in rng.uniform(80, 3000, 3))
    beat = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.3, 6) * times)
    data = (0.1 * tones * beat + rng.uniform(0.005, 0.1) * rng.standard_normal(len(times))).clip(-1, 1)
    return Clip(np.asarray(data[None], np.float32), "audio", spec.rate)


def _draw_scene(i: int, shift: float) -> np.ndarray:
    rng = np.random.default_rng(i)
    y, x = np.mgrid[0:240, 0:320].astype(np.float64)
    picture = np.empty((240, 320, 3))
    for channel in range(3):
        across, down, phase = rng.uniform(0, 0.06), rng.uniform(0, 0.06), rng.uniform(0, 6.3)
        picture[..., channel] = 128 + rng.uniform(20, 100) * np.sin(across * x + down * y + phase)
    for _ in range(4):
        top, left, size = rng.uniform(0, 200), rng.uniform(0, 280) + shift, rng.uniform(10, 90)
        inside = (
            (x - left) ** 2 + (y - top) ** 2 < size**2 if rng.random() < 0.5 else (abs(x - left) + abs(y - top) < size)
        )
        picture[inside] = rng.uniform(0, 255, 3)
    picture += rng.normal(0, rng.uniform(0, 12), picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def _make_texts() -> list[str]:
    things = ("a cat", "two dogs", "an old piano", "rain on a roof")
    return [
        f"{thing} {place}" for thing in things for place in ("at night", "in a city", "by the sea", "on television")
    ]


_MAKE_CLIP: Mapping[Kind, Callable[[Spec, int], Clip]] = {
    "image": _make_image,
    "video": _make_video,
    "audio": _make_audio,
}
CANARY_KINDS = tuple(_MAKE_CLIP)
"""Kinds of media of which `canary_clip` makes one."""


def canary_clip(spec: Spec) -> Clip:
    """Return a made-up clip for an encoder, as long as its window, by which it can be seen whether it runs at all."""
    clip = _MAKE_CLIP[spec.kind](spec, 0)
    short = round(spec.window * spec.rate) - clip.length if spec.kind == "audio" else 0
    return replace(clip, data=np.pad(clip.data, ((0, 0), (0, short)), mode="wrap")) if short > 0 else clip
