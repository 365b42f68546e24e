"""int8: never by itself, near float32 where it matters, and refused where it is not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny

import percepts
from percepts.encoders import load_encoder, model_spec
from percepts.encoders.hub import int8_check
from percepts.encoders.hub.int8_check import Int8Report, compare_vectors
from percepts.encoders.pooling import pool
from percepts.errors import EncodeError
from percepts.types import Clip

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path / "cache"))


def clips() -> list[Clip]:
    return [Clip(picture[None], "image", 0.0) for picture in tiny.pictures()]


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
@pytest.mark.parametrize("name", ["vit", "clip"])
def test_int8_is_near_float32_after_the_mean_is_taken_off(name: str, runtime: str, tiny_checkpoint: Make) -> None:
    folder = str(tiny_checkpoint(name))
    exact, rough = load_encoder(folder), load_encoder(model_spec(folder, precision="int8-unchecked"), runtime=runtime)
    inputs = exact.prepare(clips())
    vectors = [pool(encoder.encode(inputs), exact.spec.pool) for encoder in (exact, rough)]
    assert not np.array_equal(*vectors)
    assert (
        compare_vectors(*vectors).cosine > 0.99
    )  # 32 wide: a layer's rounding, 1/127 of the largest, is averaged little


def test_int8_of_an_item_does_not_depend_on_its_company(tiny_checkpoint: Make) -> None:
    encoder = load_encoder(model_spec(str(tiny_checkpoint("vit")), precision="int8-unchecked"))
    whole = encoder.encode(encoder.prepare(clips())).data
    singles = np.concatenate([encoder.encode(encoder.prepare([clip])).data for clip in clips()])
    # The last bit of a float32 sum may turn the rounding of one activation, a step of 1/127 of the largest.
    np.testing.assert_allclose(whole, singles, atol=0.05)
    assert np.abs(whole - singles).mean() < 1e-3


def test_the_canaries_are_asked_once_and_what_they_say_is_told(
    tiny_checkpoint: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = model_spec(str(tiny_checkpoint("vit")), precision="int8")
    with caplog.at_level(logging.WARNING):
        first = load_encoder(row)
        first.encode(first.prepare(clips()))
    assert "centred cosine" in caplog.text and "nearest neighbours kept" in caplog.text
    monkeypatch.setattr(int8_check, "compare_vectors", lambda *_: pytest.fail("asked twice"))
    second = load_encoder(row)
    second.encode(second.prepare(clips()))


def test_int8_below_the_bar_is_refused_unless_asked_for_by_name(
    tiny_checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_check, "compare_vectors", lambda *_: Int8Report(0.9, 1.0))
    folder = str(tiny_checkpoint("vit"))
    strict = load_encoder(model_spec(folder, precision="int8"))
    with pytest.raises(EncodeError, match=r"centred cosine 0\.9000 \(bar 0\.95\).*--precision int8-unchecked"):
        strict.encode(strict.prepare(clips()))
    free = load_encoder(model_spec(folder, precision="int8-unchecked"))
    assert free.encode(free.prepare(clips())).data.shape == (len(clips()), 17, 32)


@pytest.mark.parametrize("name", ["ast", "videomae", "sentence"])
def test_sound_film_and_text_have_canaries_too(name: str, tiny_checkpoint: Make) -> None:
    encoder = load_encoder(model_spec(str(tiny_checkpoint(name)), precision="int8"))
    assert int8_check.check_int8(encoder).cosine > 0.95  # type: ignore[arg-type]


def test_a_precision_is_for_checkpoints(tiny_checkpoint: Make) -> None:
    with pytest.raises(ValueError, match="conse has no other precision than its own"):
        model_spec("conse", precision="int8")
    assert model_spec("conse", precision="float32") == model_spec("conse")


def test_raw_cosine_flatters() -> None:
    rng = np.random.default_rng(0)
    vectors = (10 + rng.standard_normal((32, 64))).astype(np.float32)  # a narrow cone
    noisy = (vectors + 0.7 * rng.standard_normal((32, 64))).astype(np.float32)
    raw = (vectors * noisy).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(noisy, axis=1)
    assert raw.mean() > 0.99
    assert compare_vectors(vectors, noisy).cosine < 0.9


def test_a_job_that_is_refused_ends_before_its_first_source(
    tiny_checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_check, "compare_vectors", lambda *_: Int8Report(0.9, 1.0))
    with pytest.raises(EncodeError, match="int8-unchecked"):
        percepts.embed(tmp_path, tmp_path / "out", models=[str(tiny_checkpoint("vit"))], precision="int8")
    assert not (tmp_path / "out").exists()
