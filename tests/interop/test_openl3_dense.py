"""The dense mode: its windows and times, what it shares with the exact mode, and that cutting changes nothing."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from openl3_recipe import loaded

from percepts.interop import openl3
from percepts.interop.openl3 import dense as dense_module
from percepts.interop.openl3 import models
from percepts.interop.openl3.dense import STEP

pytestmark = pytest.mark.filterwarnings("ignore::percepts.interop.openl3.OpenL3Warning")


def columns(levels: np.ndarray) -> np.ndarray:
    """A stand-in for the network that sees as far as it does: means around each column, two channels, two rows."""
    padded = np.pad(levels.mean(axis=0), dense_module.HALO - 8)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * (dense_module.HALO - 8) + 8)[:: dense_module.COLUMN]
    count = levels.shape[1] // dense_module.COLUMN
    return np.stack([around.mean(1)[:count], around.max(1)[:count]])[:, None].repeat(4, axis=1)


def dense(blocks: list[np.ndarray], hop: int, lead: int = 0, size: int = 2, kind: str = "kapre") -> np.ndarray:
    made = dense_module.compute_dense_vectors(blocks, hop, lead, (kind, "mel128"), columns, size, 2, map)
    return np.concatenate(list(made))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 200_000), st.integers(1, 40), st.sampled_from([0, 24_000]), st.lists(st.integers(0, 90_000)))
def test_however_the_stream_is_cut_the_same_comes_out(length: int, step: int, lead: int, cuts: list[int]) -> None:
    audio = np.random.default_rng(length).uniform(-1, 1, length).astype(np.float32)
    edges = np.concatenate([[0], np.minimum(np.cumsum(cuts, dtype=int), length), [length]]).astype(int)
    blocks = [audio[a:b] for a, b in itertools.pairwise(edges)]
    whole = dense([audio], step * STEP, lead)
    total = length + lead
    assert len(whole) == (1 if total <= 48_000 else 1 - (48_000 - total) // (step * STEP))
    np.testing.assert_array_equal(dense(blocks, step * STEP, lead), whole)


@pytest.mark.parametrize("chunk", [64, 512, 4096])
def test_the_length_of_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, 300_000).astype(np.float32)
    whole = dense([audio], 2 * STEP)
    monkeypatch.setattr(dense_module, "CHUNK", chunk)
    # sums of the stand-in are taken in another order
    np.testing.assert_allclose(dense([audio], 2 * STEP), whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("frontend", ["kapre", "trained"])
def test_the_middle_of_a_window_is_that_of_the_exact_mode(own: Path, frontend: str) -> None:
    """Steady noise has one loudness, and the middle of a window does not see its edges: there the modes are one."""
    audio = np.random.default_rng(1).uniform(-0.5, 0.5, 100_000)
    model = models.load_audio_embedding_model("mel128", "music", 6144, frontend)
    options = {"model": model, "input_repr": "mel128", "hop_size": 2 * STEP / 48_000, "frontend": frontend}
    ours, times = openl3.get_audio_embedding(audio, 48_000, center=False, dense=True, **options)
    exact, exact_times = openl3.get_audio_embedding(audio, 48_000, center=False, **options)
    np.testing.assert_allclose(times, exact_times, atol=1e-12)
    off = np.abs(ours - exact).reshape(-1, 4, 3, 512)
    # the loudest of a second around a frame is not quite that of the window: a tenth of a dB
    assert off[:, :, 1].mean() < 0.02
    assert off[:, :, 0].mean() > 10 * off[:, :, 1].mean()  # the edges do differ, which is what dense means


def test_both_sizes_come_of_one_grid(own: Path) -> None:
    audio = np.random.default_rng(2).uniform(-0.5, 0.5, 60_000)
    found = {}
    for size in (6144, 512):
        found[size], _ = openl3.get_audio_embedding(
            audio, 48_000, input_repr="mel128", embedding_size=size, dense=True, hop_size=0.04
        )
    np.testing.assert_array_equal(found[6144].reshape(-1, 12, 512).max(1), found[512])


def test_the_hop_becomes_the_nearest_that_can_be_and_the_times_say_so(own: Path) -> None:
    audio = np.random.default_rng(3).uniform(-0.5, 0.5, 96_000)
    _, times = openl3.get_audio_embedding(audio, 48_000, input_repr="mel128", embedding_size=512, dense=True)
    np.testing.assert_allclose(times, np.arange(len(times)) * 2 * STEP / 48_000)
    assert [dense_module.nearest_hop(hop * 48_000) for hop in (1e-3, 0.1, 0.11, 1.0)] == [
        STEP,
        2 * STEP,
        3 * STEP,
        25 * STEP,
    ]


def test_files_can_be_dense(own: Path, tmp_path: Path) -> None:
    audio = np.random.default_rng(4).uniform(-0.5, 0.5, 70_000)
    soundfile.write(tmp_path / "noise.wav", audio, 48_000, "PCM_16")
    openl3.process_audio_file(str(tmp_path / "noise.wav"), input_repr="mel128", embedding_size=512, dense=True)
    held = loaded(tmp_path / "noise.npz")
    expected, times = openl3.get_audio_embedding(
        soundfile.read(tmp_path / "noise.wav")[0], 48_000, input_repr="mel128", embedding_size=512, dense=True
    )
    np.testing.assert_array_equal(held["embedding"], expected)
    np.testing.assert_array_equal(held["timestamps"], times)


def test_silence_is_silence(own: Path) -> None:
    vectors, _ = openl3.get_audio_embedding(
        np.zeros(96_000), 48_000, input_repr="mel128", embedding_size=512, dense=True
    )
    assert np.isfinite(vectors).all()
