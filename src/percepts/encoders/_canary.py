"""int8 beside float32 on a set of canaries: is what people feel, who is near whom, still the same?

Raw cosine flatters: vectors of most models lie in a narrow cone, so 1 - cos of 1e-3 can be a tenth of the distance
between two pictures. Hence the mean is taken off first, and the nearest neighbours are compared.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from ..errors import EncodeError
from ..runtimes._cache import cache_dir, processor
from ..runtimes._kept import read_record, write_record
from ..types import Clip, Kind, Spec
from . import _weights
from .pooling import normalise, vectors

if TYPE_CHECKING:
    from ._transformer import Transformer

log = logging.getLogger(__name__)

UNCHECKED = "int8-unchecked"
"""The precision of who wants int8 whatever the canaries say."""
COUNT = 16
NEAREST = 3
COSINE, AGREEMENT = 0.95, 0.85
"""What is asked. Centred cosines measured on random weights (bench/): ViT-B/16 0.996, CLIP B/32 0.993, AST 0.950."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """cosine: mean over canaries of that of the vectors less their mean; agreement: share of the nearest 3 kept.

    runtime   the one that was judged
    """

    cosine: float
    agreement: float
    runtime: str = ""

    @property
    def good(self) -> bool:
        """Whether both are above the bar."""
        return self.cosine >= COSINE and self.agreement >= AGREEMENT


def check(encoder: Transformer) -> Verdict:
    """Compare the encoder with itself at float32; once per weights, machine and versions. EncodeError below the bar."""
    path = cache_dir() / "canaries" / f"{_key(encoder)}.json"
    if (kept := read_record(path)) is not None:
        verdict = Verdict(**kept)
    else:
        log.info("%s: int8 is held against float32 on %d canaries; this happens once", encoder.spec.name, COUNT)
        exact, _ = _vectors(encoder, "float32")
        rough, runtime = _vectors(encoder, UNCHECKED)
        verdict = replace(compare(exact, rough), runtime=runtime)
        write_record(path, asdict(verdict))
    words = (
        f"{encoder.spec.name} int8 against float32: centred cosine {verdict.cosine:.4f} (bar {COSINE}), "
        f"{verdict.agreement:.0%} of the {NEAREST} nearest neighbours kept (bar {AGREEMENT:.0%})"
    )
    _tell(words)
    if not verdict.good:
        raise EncodeError(f"{words}. Take float32, or --precision {UNCHECKED} if you know better")
    return verdict


@cache
def _tell(words: str) -> None:
    """Once in a process, however many networks and batches ask."""
    log.warning("%s", words)


def compare(exact: np.ndarray, rough: np.ndarray) -> Verdict:
    """(N, D) vectors of the same items at two precisions.

    >>> compare(np.eye(8, dtype=np.float32), np.eye(8, dtype=np.float32)).good
    True
    """
    mean = exact.mean(axis=0)
    first, second = normalise(exact - mean), normalise(rough - mean)
    kept = [len(set(a) & set(b)) / NEAREST for a, b in zip(_nearest(first), _nearest(second), strict=True)]
    return Verdict(float((first * second).sum(axis=1).mean()), float(np.mean(kept)))


def _nearest(vectors: np.ndarray) -> np.ndarray:
    closeness = vectors @ vectors.T
    np.fill_diagonal(closeness, -np.inf)
    order: np.ndarray = np.argsort(-closeness, axis=1, kind="stable")[:, :NEAREST]
    return order


def _vectors(encoder: Transformer, precision: str) -> tuple[np.ndarray, str]:
    """Those of the canaries, and the runtime that made them: at float32 torch, which is what all are held against."""
    runtime = encoder.asked if precision == UNCHECKED else "torch"
    other = type(encoder)(replace(encoder.spec, precision=precision), runtime=runtime, threads=encoder.threads)
    if encoder.spec.kind == "text":
        return np.asarray(other.encode_text(_texts())), other.runtime  # type: ignore[attr-defined]
    clips = [_CLIPS[encoder.spec.kind](encoder.spec, i) for i in range(COUNT)]
    return vectors(other, other.prepare(clips)), other.runtime  # type: ignore[arg-type, attr-defined]


def _key(encoder: Transformer) -> str:
    spec = encoder.spec
    facts = [_weights.digest(spec.weights), spec.size, spec.window, spec.pool, processor()]
    facts += [version("torch"), version("onnxruntime"), encoder.asked, COUNT, "4"]
    return hashlib.sha256("|".join(map(str, facts)).encode()).hexdigest()[:32]


def _picture(spec: Spec, i: int) -> Clip:
    """Soft colours with a few shapes, (1, 240, 320, 3)."""
    return Clip(_scene(i, 0.0)[None], "image", 0.0)


def _film(spec: Spec, i: int) -> Clip:
    """The same shapes, wandering."""
    frames = round(spec.window * spec.rate)
    return Clip(np.stack([_scene(i, 4.0 * k) for k in range(frames)]), "video", spec.rate)


def _sound(spec: Spec, i: int) -> Clip:
    """Tones under a slow envelope, with noise: at most ten seconds of it."""
    rng = np.random.default_rng(i)
    times = np.arange(round(min(spec.window, 10.0) * spec.rate)) / spec.rate
    tones = sum(np.sin(2 * np.pi * pitch * times * (1 + 0.02 * i)) for pitch in rng.uniform(80, 3000, 3))
    beat = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.3, 6) * times)
    data = (0.1 * tones * beat + rng.uniform(0.005, 0.1) * rng.standard_normal(len(times))).clip(-1, 1)
    return Clip(np.asarray(data[None], np.float32), "audio", spec.rate)


def _scene(i: int, shift: float) -> np.ndarray:
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


def _texts() -> list[str]:
    things = ("a cat", "two dogs", "an old piano", "rain on a roof")
    return [
        f"{thing} {place}" for thing in things for place in ("at night", "in a city", "by the sea", "on television")
    ]


_CLIPS: Mapping[Kind, Callable[[Spec, int], Clip]] = {"image": _picture, "video": _film, "audio": _sound}
CANARY_KINDS = tuple(_CLIPS)
"""Kinds of media of which `canary_clip` makes one."""


def canary_clip(spec: Spec) -> Clip:
    """Return a made-up clip for an encoder, as long as its window, by which it can be seen whether it runs at all."""
    clip = _CLIPS[spec.kind](spec, 0)
    short = round(spec.window * spec.rate) - clip.length if spec.kind == "audio" else 0
    return replace(clip, data=np.pad(clip.data, ((0, 0), (0, short)), mode="wrap")) if short > 0 else clip
