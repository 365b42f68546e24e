"""Makes tests/reference/ge2e.npz with Resemblyzer 0.1.4's own code (librosa's mel) on its own weights.

    python tests/make_reference_ge2e.py Resemblyzer-0.1.4-py3-none-any.whl       # needs librosa, scipy

Its voice detection is left out: the module that it needs does not import any more, and it is no part of the network.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np

from percepts import weights

TARGET = Path(__file__).parent / "reference/ge2e.npz"
RATE = 16_000


def voice(seconds: float, pitch: float) -> np.ndarray:
    """A buzz with three formants that opens and closes four times a second, (N,) float32."""
    t = np.arange(round(seconds * RATE)) / RATE
    drift = pitch * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * t))
    phase = 2 * np.pi * np.cumsum(drift) / RATE
    partials = [
        np.exp(-(((k * pitch - f) / 300) ** 2)) * np.sin(k * phase) for k in range(1, 30) for f in (500, 1500, 2500)
    ]
    opening = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * t)
    noise = np.random.default_rng(3).standard_normal(len(t)) * 1e-3
    return (np.sum(partials, axis=0) * opening * 0.004 + noise).astype(np.float32)


def main(wheel: Path) -> None:
    sys.modules["webrtcvad"] = types.ModuleType("webrtcvad")
    sys.path.insert(0, str(wheel))
    from resemblyzer import VoiceEncoder, audio

    encoder = VoiceEncoder("cpu", verbose=False, weights_fpath=weights.local_path("ge2e"))
    kept = {}
    for name, samples in {"low": voice(5.0, 110), "high": voice(2.9, 210), "short": voice(0.7, 150)}.items():
        raised = audio.normalize_volume(samples, audio.audio_norm_target_dBFS, increase_only=True)
        vector, partials, slices = encoder.embed_utterance(raised, return_partials=True)
        kept |= {f"{name}_vector": vector, f"{name}_partials": partials}
        kept[f"{name}_starts"] = np.array([s.start // 160 for s in slices])
    np.savez_compressed(TARGET, **kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
