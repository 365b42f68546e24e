"""Count the voices that diarization finds among six known ones (Free Spoken Digit Dataset), alone and mixed.

    python bench/voices.py recordings.zip      # files called DIGIT_NAME_NUMBER.wav anywhere in it

Each voice is 260 digits, one after the other. The thresholds in percepts.tasks.diarize come from these voices.
"""

from __future__ import annotations

import io
import re
import sys
import zipfile

import numpy as np
import soundfile
import soxr

from percepts import load_encoder
from percepts.diarization.clustering import SpeakerCount, cluster_speakers
from percepts.diarization.embeddings import RATE, embed_speech
from percepts.encoders.builtin.silero import Silero
from percepts.tasks.diarizer import SPEECH_RULES, THRESHOLDS
from percepts.types import Clip
from percepts.windows import cut_speech

DIGITS, GAP = 260, np.zeros(round(0.075 * RATE), np.float32)


def voices(path: str) -> dict[str, np.ndarray]:
    """Return name → (n, 256), the vectors of all windows."""
    rng, encoder = np.random.default_rng(0), load_encoder("ge2e")
    with zipfile.ZipFile(path) as archive:
        files: dict[str, list[str]] = {}
        for name in sorted(archive.namelist()):
            if found := re.search(r"\d_([a-z]+)_\d+\.wav$", name):
                files.setdefault(found[1], []).append(name)
        result = {}
        for voice, names in files.items():
            parts = [part for name in rng.permutation(names)[:DIGITS] for part in (digit(archive.read(name)), GAP)]
            clip = Clip(np.concatenate(parts)[None], "audio", float(RATE))
            result[voice] = np.concatenate(
                [b.vectors for b in embed_speech(cut_speech(Silero(), SPEECH_RULES)([clip]), encoder)]
            )
    return result


def digit(content: bytes) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    resampled: np.ndarray = soxr.resample(samples / max(np.abs(samples).max(), 1e-3) / 2, rate, RATE)
    return resampled.astype(np.float32)


def counted(vectors: np.ndarray) -> int:
    weights = np.full(len(vectors), 0.4)
    small = min(3.0, 0.04 * len(vectors))
    return int(cluster_speakers(vectors, weights, THRESHOLDS["ge2e"], SpeakerCount(), small=small).max()) + 1


def mixed(found: dict[str, np.ndarray], sizes: tuple[int, ...], trials: int) -> list[int]:
    """Count the voices found in mixtures of voices drawn at random, with a given number of windows each."""
    rng = np.random.default_rng(len(sizes))
    picked = [rng.permutation(list(found))[: len(sizes)] for _ in range(trials)]
    return [
        counted(np.concatenate([found[n][:size] for n, size in zip(names, sizes, strict=True)])) for names in picked
    ]


def main(path: str) -> None:
    found = voices(path)
    for windows in (10, 20, 30, 45, 150, 400):
        print(f"alone, {windows} windows: {[counted(vectors[:windows]) for vectors in found.values()]}")
    for sizes in ((12, 12), (40, 40), (200, 180), (25, 25, 25), (150, 130, 100), (250, 115, 19), (60,) * 6):
        print(f"{len(sizes)} voices of {sizes} windows: {mixed(found, sizes, 6)}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
