"""Vectors by a network that does nothing for the steps they are not made of: equal to pooling what `encode` gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny

from percepts.encoders import load_encoder, model_spec
from percepts.encoders.pooling import encode_vectors, pool
from percepts.types import Clip, Encoder, Inputs

pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter")  # of transformers, at its own defaults
Make = Callable[..., Path]
CLOSE = 1e-5
"""Of values of about 1: kernels sum in another order when there are fewer rows."""
FAMILIES = ["vit", "deit", "dino2", "dino2_registers", "ast"]


def inputs_of(encoder: Encoder) -> Inputs:
    media = tiny.sounds() if encoder.spec.kind == "audio" else tiny.pictures()
    return encoder.prepare([Clip(each[None], encoder.spec.kind, encoder.spec.rate) for each in media])


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_are_the_pooled_frames(family: str, tiny_checkpoint: Make) -> None:
    encoder = tiny.load(str(tiny_checkpoint(family)))
    inputs = inputs_of(encoder)
    found = encode_vectors(encoder, inputs)
    np.testing.assert_allclose(found, pool(encoder.encode(inputs), "cls"), atol=CLOSE, rtol=0)
    for i, one in enumerate(found):
        alone = encode_vectors(encoder, {name: array[i : i + 1] for name, array in inputs.items()})
        np.testing.assert_allclose(alone[0], one, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_gives_no_other_steps(family: str, tiny_checkpoint: Make) -> None:
    import torch

    encoder = tiny.load(str(tiny_checkpoint(family)))
    fed = encoder.select_inputs(inputs_of(encoder))  # type: ignore[attr-defined]
    with torch.inference_mode():
        states = encoder.build_vectors()(*map(torch.from_numpy, fed.values()))  # type: ignore[attr-defined]
    assert states.shape[1] == (2 if family == "ast" else 1)


@pytest.mark.parametrize(("family", "pooling"), [("vit", "mean"), ("beit", "cls"), ("dino3", "cls")])
def test_where_all_steps_are_needed_they_are_all_there(family: str, pooling: str, tiny_checkpoint: Make) -> None:
    row = model_spec(str(tiny_checkpoint(family)), pool=pooling)
    encoder = load_encoder(row, runtime="torch")
    inputs = inputs_of(encoder)
    assert np.array_equal(encode_vectors(encoder, inputs), pool(encoder.encode(inputs), pooling))


@pytest.mark.parametrize("family", ["vit", "ast"])
def test_onnx_gives_the_same(
    family: str, tiny_checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path))
    row = model_spec(str(tiny_checkpoint(family)))
    plain, other = (load_encoder(row, runtime=name) for name in ("torch", "onnx"))
    inputs = inputs_of(plain)
    np.testing.assert_allclose(
        encode_vectors(other, inputs), encode_vectors(plain, inputs), atol=1e-4, rtol=0
    )  # other kernels
    assert other.runtime == "onnx"  # type: ignore[attr-defined]


def test_an_encoder_without_a_shorter_way_is_pooled() -> None:
    encoder = load_encoder("fake-image")
    inputs = encoder.prepare([Clip(picture[None], "image", 0.0) for picture in tiny.pictures()[:3]])
    assert np.array_equal(encode_vectors(encoder, inputs), pool(encoder.encode(inputs), encoder.spec.pool))


def test_another_size_is_interpolated_here_too(tiny_checkpoint: Make) -> None:
    folder = str(tiny_checkpoint("vit"))
    row = model_spec(folder)
    encoder = load_encoder(model_spec(folder, size=2 * row.size), runtime="torch")
    inputs = inputs_of(encoder)
    np.testing.assert_allclose(encode_vectors(encoder, inputs), pool(encoder.encode(inputs), "cls"), atol=CLOSE, rtol=0)
