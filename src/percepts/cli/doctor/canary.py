"""Check the default encoders on a drawn clock and an audio sweep, whose vectors are known."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...encoders import load_encoder
from ...encoders.pooling import pool
from ...types import Clip, TextEncoder

EXPECTED = Path(__file__).parents[2] / "data" / "canary.json"
"""The vectors as float16, written by scripts/make_canary.py."""
LIKE = 0.999
"""Lowest cosine to the expected vector. Other CPUs and runtimes give 0.99999 and above, and float16 costs 1e-6; a wrong
resize, swapped channels or damaged weights cost more than 0.01."""
WORDS = ("a clock on the wall", "a cat", "a cup of coffee", "a rocket launch", "a flower")


def draw_clock() -> Clip:
    """Draw a wall clock at ten past two, (1, 256, 256, 3), which ImageNet classifiers recognise with near certainty."""
    y, x = np.mgrid[:256, :256] - 128.0
    pixels = np.full((256, 256, 3), (200, 190, 170), np.uint8)

    def disc(cx: float, cy: float, radius: float, colour: tuple[int, int, int]) -> None:
        pixels[(x - cx) ** 2 + (y - cy) ** 2 <= radius**2] = colour

    disc(0, 0, 110, (60, 40, 30))
    disc(0, 0, 98, (250, 250, 245))
    for hour in range(12):
        angle = hour * np.pi / 6
        # Larger dots at 12, 3, 6 and 9, as on many clocks. y grows downwards.
        disc(85 * np.sin(angle), -85 * np.cos(angle), 6 if hour % 3 else 10, (20, 20, 20))
    # The hour hand is a sixth past two; the minute hand points to the 2.
    for angle, length, width in ((2.17 * np.pi / 6, 50, 6), (2 * np.pi / 6, 78, 4)):
        for along in np.linspace(0, length, 200):
            disc(along * np.sin(angle), -along * np.cos(angle), width, (20, 20, 20))
    return Clip(pixels[None], "image", 0.0)


def make_sweep() -> Clip:
    """Make a sweep of four seconds from 100 Hz to 6.4 kHz at 16 kHz, an octave every two thirds of a second."""
    t = np.arange(64_000) / 16_000  # 16 kHz: above twice the highest tone
    # The integral of the frequency 100 * 2 ** (1.5 t), so that the tone has no clicks.
    phase = 2 * np.pi * 100 * (2 / 3 / np.log(2)) * (2 ** (t * 1.5) - 1)
    return Clip((0.5 * np.sin(phase)).astype(np.float32)[None], "audio", 16_000.0)


CANARIES: dict[str, Callable[[], Clip]] = {"conse": draw_clock, "melstats": make_sweep}


def measure_canary(name: str) -> np.ndarray:
    """Encode the test input of an encoder as a job does; return its vector (D,) float32."""
    encoder = load_encoder(name)
    frames = encoder.encode(encoder.prepare([CANARIES[name]()]))
    vector: np.ndarray = pool(frames, encoder.spec.pool)[0]
    return vector


def read_expected(name: str) -> np.ndarray:
    """Return the expected vector (D,) float32."""
    stored = json.loads(EXPECTED.read_text())[name]
    return np.frombuffer(base64.b64decode(stored), np.float16).astype(np.float32)


def write_expected() -> None:
    """Store today's vectors as the expected ones."""
    stored = {name: base64.b64encode(measure_canary(name).astype(np.float16).tobytes()).decode() for name in CANARIES}
    EXPECTED.write_text(json.dumps(stored, indent=1) + "\n")


def check_canary(name: str) -> str:
    """Compare an encoder's vector with the expected one, and return the finding in words.

    Raises:
        ArithmeticError: the vector differs, or words do not find the clock.
    """
    vector = measure_canary(name)
    if not np.isfinite(vector).all():
        raise ArithmeticError(f"{(~np.isfinite(vector)).sum()} of {vector.size} numbers are not finite")
    # Not equality: another CPU rounds in another way.
    likeness = _cosine_similarity(vector, read_expected(name))
    if not likeness >= LIKE:  # not `<`, which lets NaN pass
        raise ArithmeticError(f"expected a cosine of {LIKE} or more to the known vector, got {likeness:.4f}")
    encoder = load_encoder(name)
    found = _text_finds_clock(encoder, vector) if isinstance(encoder, TextEncoder) else ""
    return f"cosine {likeness:.5f} to the known vector{found}"


def _text_finds_clock(encoder: TextEncoder, vector: np.ndarray) -> str:
    scores = [_cosine_similarity(vector, text) for text in encoder.encode_text(WORDS)]
    best = int(np.argmax(scores))
    if best:
        raise ArithmeticError(f"expected {WORDS[0]!r} to be nearest to a clock, got {WORDS[best]!r}")
    return f"; {WORDS[0]!r} finds the clock ({scores[0]:.2f}, next {sorted(scores)[-2]:.2f})"


def _cosine_similarity(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
