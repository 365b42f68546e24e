"""Random probabilities to stretches by silero-vad's own post-processing → tests/reference/silero_spans.json.

python -m venv reference && reference/bin/pip install torch silero-vad==6.2.3
reference/bin/python tests/make_reference_silero.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from silero_vad.utils_vad import get_speech_timestamps_from_probs

TARGET = Path(__file__).parent / "reference" / "silero_spans.json"
SETTINGS = [
    {},
    {"threshold": 0.6, "neg_threshold": 0.2},
    {"min_silence_duration_ms": 500, "speech_pad_ms": 100},
    {"min_silence_duration_ms": 160, "speech_pad_ms": 400},
    {"max_speech_duration_s": 3.0},
    {"max_speech_duration_s": 2.0, "min_silence_duration_ms": 400, "speech_pad_ms": 200},
    {"max_speech_duration_s": 1.0, "min_silence_duration_ms": 2000, "min_silence_at_max_speech": 64},
    {"min_speech_duration_ms": 0, "min_silence_duration_ms": 0, "speech_pad_ms": 0},
]


def probabilities(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Hundredths: speech and silence of random lengths, with flicker near the thresholds."""
    level = np.repeat(rng.choice([0.05, 0.4, 0.5, 0.95], frames), rng.integers(1, 40, frames))[:frames]
    return np.clip(np.round(100 * (level + rng.normal(0, 0.08, frames))), 0, 100).astype(int)


def main() -> None:
    rng = np.random.default_rng(7)
    cases = []
    for number in range(64):
        settings, rate = SETTINGS[number % len(SETTINGS)], 16_000 if number % 3 else 8_000
        frame = 512 if rate == 16_000 else 256
        heard = probabilities(rng, int(rng.integers(1, 400)))
        total = len(heard) * frame - int(rng.integers(0, frame))
        found = get_speech_timestamps_from_probs(
            (heard / 100).tolist(), sampling_rate=rate, audio_length_samples=total, **settings
        )
        spans = [[span["start"], span["end"]] for span in found]
        cases.append({"rate": rate, "total": total, "settings": settings, "heard": heard.tolist(), "spans": spans})
    TARGET.write_text(json.dumps(cases, separators=(",", ":")).replace('{"rate"', '\n{"rate"') + "\n")


if __name__ == "__main__":
    main()
