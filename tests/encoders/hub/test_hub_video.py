"""Film in hub checkpoints: windows of frames at the rate of the model, equal to transformers; and a whole job of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import transformers
from synth import write_film

from percepts import embed_iter
from percepts.encoders import model_spec
from percepts.encoders.pooling import pool
from percepts.types import Clip

Make = Callable[..., Path]
CLOSE = 1e-5
MODELS = {"videomae": "VideoMAEModel", "timesformer": "TimesformerModel"}


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.kron(
        np.random.default_rng(seed).integers(0, 256, (count, 6, 8, 3), np.uint8), np.ones((1, 8, 8, 1), np.uint8)
    )


@pytest.mark.parametrize("name", MODELS)
def test_states_equal_those_of_transformers(name: str, tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint(name)
    encoder = tiny.load(str(folder))
    clips = [Clip(frames(4, seed), "video", encoder.spec.rate) for seed in (1, 2, 3)]
    processor = transformers.VideoMAEImageProcessorPil.from_pretrained(folder)
    values = processor([list(clip.data) for clip in clips], return_tensors="pt").pixel_values
    with torch.inference_mode():
        expected = getattr(transformers, MODELS[name]).from_pretrained(folder).eval()(values).last_hidden_state
    ours = encoder.tokens(encoder.prepare(clips))
    np.testing.assert_allclose(ours.data, expected.numpy(), atol=CLOSE, rtol=0)
    assert ours.mask.sum() == 3 * np.prod(encoder.grid.shape)
    singles = [pool(encoder.encode(encoder.prepare([clip])), encoder.spec.pool)[0] for clip in clips]
    np.testing.assert_allclose(pool(encoder.encode(encoder.prepare(clips)), encoder.spec.pool), singles, atol=CLOSE)


def test_time_varies_fastest_in_timesformer_and_slowest_in_videomae(tiny_checkpoint: Make) -> None:
    for name, axis in (("videomae", 0), ("timesformer", 2)):
        encoder = tiny.load(str(tiny_checkpoint(name)))
        assert encoder.grid.axes[axis] == "time"
        assert encoder.grid.shape[axis] * encoder.grid.step == pytest.approx(encoder.spec.window)


def test_a_window_has_as_many_frames_as_the_model_was_trained_on(tiny_checkpoint: Make) -> None:
    # Trap 31: TimeSformer of 4 frames takes 8 and stretches its positions in time, saying nothing.
    folder = tiny_checkpoint("timesformer")
    with torch.inference_mode():
        transformers.TimesformerModel.from_pretrained(folder).eval()(torch.zeros(1, 8, 3, 32, 32))
    encoder = tiny.load(str(folder))
    with pytest.raises(ValueError, match=r"1 to 4 frames at 0\.9375 a second"):
        encoder.prepare([Clip(frames(8), "video", encoder.spec.rate)])


def test_a_short_window_holds_its_last_frame(tiny_checkpoint: Make) -> None:
    encoder = tiny.load(str(tiny_checkpoint("videomae")))
    padded = frames(4)
    padded[2:] = 0
    held = frames(4)
    held[2:] = held[1]
    rate = encoder.spec.rate
    ours = encoder.prepare([Clip(padded, "video", rate, valid=2), Clip(held, "video", rate)])["pixels"]
    assert np.array_equal(ours[0], ours[1])


def test_a_film_gives_a_vector_a_window_with_its_times(tiny_checkpoint: Make, tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", 14)
    row = model_spec(str(tiny_checkpoint("videomae")))
    found = list(embed_iter(path, str(tiny_checkpoint("videomae"))))
    assert [r.start for r in found] == pytest.approx([0, row.window, 2 * row.window], abs=1e-9)
    assert found[-1].stop == pytest.approx(1.4, abs=0.14)
    assert all(r.vector is not None and r.vector.shape == (32,) and r.kind == "video" for r in found)
