"""Measure how many items a second an encoder prepares and encodes on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..encoders import load_encoder
from ..encoders.pooling import encode_vectors
from ..types import Clip, Kind, Spec, TextEncoder

BATCH_SIZE = 8
MIN_SECONDS = 2.0  # of measuring, at least, after one call to warm up: caches and compiled kernels are then in place


def measure_speed(spec: Spec) -> dict[str, Any]:
    """Return {"prepare_per_second", "encode_per_second", "runtime"} for windows of noise, or sentences for text."""
    encoder = load_encoder(spec)
    if spec.kind == "text":
        assert isinstance(encoder, TextEncoder)
        texts = [f"a sentence of a few words, number {i}" for i in range(BATCH_SIZE)]
        rate = _measure_rate(lambda count: encoder.encode_text(texts[:count]))
        # One call does both, so the two cannot be timed apart.
        return {"prepare_per_second": rate, "encode_per_second": rate, "runtime": getattr(encoder, "runtime", "")}
    # Seeded, so that two runs measure the same noise.
    clips = [Clip(_NOISE[spec.kind](spec, np.random.default_rng(i)), spec.kind, spec.rate) for i in range(BATCH_SIZE)]
    inputs = encoder.prepare(clips)
    return {
        "prepare_per_second": _measure_rate(lambda count: encoder.prepare(clips[:count])),
        "encode_per_second": _measure_rate(
            lambda count: encode_vectors(encoder, {name: a[:count] for name, a in inputs.items()})
        ),
        "runtime": getattr(encoder, "runtime", ""),
    }


def _measure_rate(call: Callable[[int], object]) -> float:
    """Return items a second, BATCH_SIZE at a time; one at a time where one takes as long as the measurement."""
    call(1)
    begun = time.perf_counter()
    call(1)
    alone = time.perf_counter() - begun
    if alone >= MIN_SECONDS:
        return 1 / alone
    call(BATCH_SIZE)  # not timed: another batch size may be compiled first
    begun, count = time.perf_counter(), 0
    while (taken := time.perf_counter() - begun) < MIN_SECONDS:
        call(BATCH_SIZE)
        count += BATCH_SIZE
    return count / taken


def _make_audio(spec: Spec, rng: np.random.Generator) -> np.ndarray:
    # Quiet enough that hardly any sample leaves ±1, as in a recording.
    return (0.1 * rng.standard_normal((1, round(spec.window * spec.rate)))).astype(np.float32)


def _make_video(spec: Spec, rng: np.random.Generator) -> np.ndarray:
    # Larger than what most models read, so that resizing is part of the time.
    return rng.integers(0, 256, (round(spec.window * spec.rate), 480, 640, 3), np.uint8)


def _make_image(spec: Spec, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (1, 480, 640, 3), np.uint8)


_NOISE: dict[Kind, Callable[[Spec, np.random.Generator], np.ndarray]] = {
    "image": _make_image,
    "audio": _make_audio,
    "video": _make_video,
}
