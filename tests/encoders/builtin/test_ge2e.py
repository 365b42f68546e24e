from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_reference_ge2e import voice

from percepts.encoders import load_encoder, pooling
from percepts.encoders.builtin.ge2e import partial_starts
from percepts.types import Clip

REFERENCE = Path(__file__).parents[2] / "reference/ge2e.npz"
VOICES = {"low": (5.0, 110), "high": (2.9, 210), "short": (0.7, 150)}


def clip(name: str) -> Clip:
    return Clip(voice(*VOICES[name])[None], "audio", 16000.0)


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "torch"])
def test_partials_and_utterances_are_resemblyzers(runtime: str, have: Callable[[str], None]) -> None:
    have("ge2e")
    if runtime == "openvino":
        pytest.importorskip("openvino")
    encoder, reference = load_encoder("ge2e", runtime=runtime), np.load(REFERENCE)
    frames = encoder.encode(encoder.prepare([clip(name) for name in VOICES]))
    utterances = pooling.pool(frames, "l2mean")
    for i, name in enumerate(VOICES):
        # float32 mel and 160 recurrent steps in another order of summing; components are up to 0.3
        np.testing.assert_allclose(frames.data[i][frames.mask[i]], reference[f"{name}_partials"], atol=2e-5)
        np.testing.assert_allclose(utterances[i], reference[f"{name}_vector"], atol=2e-5)
        assert partial_starts(clip(name).length) == reference[f"{name}_starts"].tolist()


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 25599, 25600, 25601, 38400, 44800, 480000])
def test_partials_cover_the_sound(samples: int) -> None:
    found = np.array(partial_starts(samples))
    assert found[0] == 0
    assert (np.diff(found) == 77).all()
    uncovered = samples - (found[-1] + 160) * 160
    assert uncovered <= 77 * 160  # at most one partial was dropped


def test_the_step_is_that_of_the_partials() -> None:
    frames_step = 77 * 160 / 16000
    encoder = load_encoder("ge2e")
    assert encoder.prepare([clip("low")])["count"].tolist() == [len(partial_starts(80000))]
    assert frames_step == 0.77


def test_quiet_speech_is_raised_and_loud_speech_is_not() -> None:
    encoder, sound = load_encoder("ge2e"), clip("low").data
    prepared = [
        encoder.prepare([Clip(sound * np.float32(gain), "audio", 16000.0)])["mel"] for gain in (2**-9, 2**-7, 64)
    ]
    np.testing.assert_allclose(prepared[0], prepared[1], rtol=1e-4)  # float32 gain and power
    assert prepared[2].mean() > 10 * prepared[1].mean()


def test_a_speaker_is_nearer_to_themselves(have: Callable[[str], None], shared: Path) -> None:
    have("ge2e")
    import io
    import zipfile

    import soundfile
    import soxr

    encoder, vectors, who = load_encoder("ge2e"), [], []
    with zipfile.ZipFile(shared / "fsdd.zip") as archive:
        for speaker in ("george", "jackson", "lucas", "nicolas", "theo", "yweweler"):
            for take in range(3):  # the ten digits in a row, about five seconds of speech
                words = [archive.read(f"recordings/{digit}_{speaker}_{take}.wav") for digit in range(10)]
                samples = np.concatenate([soundfile.read(io.BytesIO(word), dtype="float32")[0] for word in words])
                found = encoder.encode(
                    encoder.prepare([Clip(soxr.resample(samples, 8000, 16000)[None], "audio", 16000.0)])
                )
                vectors.append(pooling.pool(found, "l2mean")[0])
                who.append(speaker)
    likeness = np.array(vectors) @ np.array(vectors).T - 2 * np.eye(len(who))
    assert [who[i] for i in likeness.argmax(axis=1)] == who
