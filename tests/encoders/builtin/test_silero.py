"""Silero on real speech: right times, the same bits however the stream comes, and nothing global touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from need_weights import need_weights

from percepts import weights as weight_files
from percepts.encoders.builtin.silero import FRAME_SAMPLES, Silero
from percepts.media import mix_to_mono, open_audio
from percepts.preprocess.resample import resample_clip
from percepts.types import Clip
from percepts.windows import cut_speech

JFK = [(0.322, 2.27), (3.266, 4.446), (5.378, 7.678), (8.162, 10.622)]
"""Seconds, by the silero-vad package's own code and defaults on the same recording."""


@pytest.fixture(autouse=True)
def weights() -> None:
    need_weights("silero")


def noise(seconds: float, rate: int, seed: int = 0) -> Clip:
    data = np.random.default_rng(seed).normal(0, 0.1, (1, round(seconds * rate))).astype(np.float32)
    return Clip(data, "audio", rate)


@pytest.mark.parametrize(("rate", "tolerance"), [(16_000, 0.001), (8_000, 0.04)])
def test_speech_is_where_the_package_finds_it(shared: Path, rate: int, tolerance: float) -> None:
    # 8 kHz is another network: a frame either way
    clip = resample_clip(mix_to_mono(open_audio(shared / "speech" / "jfk.flac")), rate)
    found = [(part.start, part.stop) for part in cut_speech(Silero())([clip])]
    np.testing.assert_allclose(found, JFK, atol=tolerance)


@pytest.mark.parametrize("rate", FRAME_SAMPLES)
def test_bits_are_the_same_however_the_stream_was_cut(rate: int) -> None:
    frames = noise(1.0, rate).data[0, : 30 * FRAME_SAMPLES[rate]].reshape(30, -1)
    whole = Silero().listen(rate)(frames)
    piecewise = Silero().listen(rate)
    parts = [piecewise(frames[a:b]) for a, b in ((0, 1), (1, 1), (1, 12), (12, 30))]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("rate", FRAME_SAMPLES)
def test_several_clips_at_once_are_each_by_itself(rate: int) -> None:
    clips = [noise(seconds, rate, seed) for seed, seconds in enumerate((0.5, 1.0, 0.001, 0.7))]
    together = Silero().probabilities(clips)
    for clip, heard in zip(clips, together, strict=True):
        assert len(heard) == -(-clip.length // FRAME_SAMPLES[rate])
        # 8 kHz: the kernels' blocking may follow the number of rows; 1e-6 is a few bits of a probability
        np.testing.assert_allclose(heard, Silero().probabilities([clip])[0], atol=1e-6)
    assert Silero().probabilities([]) == []


def test_the_faster_graph_says_what_silero_s_own_does() -> None:
    own = ort.InferenceSession(str(weight_files.local_path("silero")), providers=["CPUExecutionProvider"])
    clip = noise(2.0, 16_000)
    loud = np.sin(np.arange(clip.length) / 20) * np.linspace(0, 1, clip.length)
    samples = np.pad(clip.data[0] * 0.1 + loud.astype(np.float32), (64, -clip.length % 512))
    frames = np.lib.stride_tricks.sliding_window_view(samples, 576)[::512]
    zero = np.zeros((1, 1, 128), np.float32)
    expected = own.run(None, {"input": np.ascontiguousarray(frames), "h": zero, "c": zero})[0]
    sound = Clip(samples[None, 64:], "audio", 16_000)
    # sums in another order; 5e-6 was seen on speech
    np.testing.assert_allclose(Silero().probabilities([sound])[0], expected, atol=5e-5)


def test_other_rates_and_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="resample it first"):
        Silero().listen(44_100)
    with pytest.raises(ValueError, match="one rate"):
        Silero().probabilities([noise(0.1, 8_000), noise(0.1, 16_000)])
    with pytest.raises(ValueError, match="512"):
        Silero().listen(16_000)(np.zeros((1, 100), np.float32))


def test_nothing_global_is_touched() -> None:
    code = (
        "import sys, numpy as np\n"
        "from percepts.encoders.builtin.silero import Silero\n"
        "from percepts.types import Clip\n"
        "clip = Clip(np.zeros((1, 16_000), np.float32), 'audio', 16_000)\n"
        "Silero().probabilities([clip])\n"
        "assert not {'torch', 'silero_vad'} & set(sys.modules)\n"
        "import torch, random, warnings\n"
        "torch.set_num_threads(3)\n"
        "state = lambda: (torch.get_num_threads(), torch.is_grad_enabled(), random.getstate(),\n"
        "                 list(warnings.filters), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist())\n"
        "before = state()\n"
        "Silero().probabilities([clip])\n"
        "assert state() == before\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
