from __future__ import annotations

import numpy as np
import pytest

from percepts.encoders import load_encoder, model_spec, pooling
from percepts.encoders.builtin.fake import COLOURS, FakeImage
from percepts.types import Clip


def plain(index: int, size: int = 5) -> Clip:
    value = [255 * bool(index & bit) for bit in (4, 2, 1)]
    return Clip(np.full((1, size, size, 3), value, np.uint8), "image", 0.0)


def test_text_finds_the_picture_of_its_colour() -> None:
    encoder = load_encoder("fake-image")
    pictures = pooling.pool(encoder.encode(encoder.prepare([plain(i) for i in range(8)])), "mean")
    found = encoder.encode_text([f"something {colour}, please" for colour in COLOURS]) @ pictures.T  # type: ignore[attr-defined]
    assert (found.argmax(axis=1) == np.arange(8)).all()


def test_a_picture_half_and_half_is_between() -> None:
    encoder = load_encoder("fake-image")
    both = np.concatenate([plain(4).data, plain(1).data], axis=1)
    vector = encoder.encode(encoder.prepare([Clip(both, "image", 0.0)])).data[0, 0]
    assert {COLOURS[i]: value for i, value in enumerate(vector) if value} == {"blue": 0.5, "red": 0.5}


def test_loudness_is_heard_where_it_is() -> None:
    encoder = load_encoder("fake-audio")
    samples = np.zeros((1, 8000), np.float32)
    samples[0, 3000:4000] = 0.5
    vector = encoder.encode(encoder.prepare([Clip(samples, "audio", 8000.0)])).data[0, 0]
    assert vector.tolist() == [0, 0, 0, 0.5, 0, 0, 0, 0]


class Poisoned(FakeImage):
    def check(self, item: np.ndarray) -> None:
        if item[COLOURS.index("red")] > 0.9:
            raise RuntimeError("red")


def test_a_fault_can_be_put_in() -> None:
    encoder = Poisoned(model_spec("fake-image"))
    encoder.encode(encoder.prepare([plain(1), plain(2)]))
    with pytest.raises(RuntimeError, match="red"):
        encoder.encode(encoder.prepare([plain(1), plain(4)]))
