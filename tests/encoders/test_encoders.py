"""What every encoder promises: walked over the registry, so that a new row is tested by being there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from openl3_recipe import WALKED

from percepts.encoders import list_models, load_encoder, model_spec
from percepts.encoders.pooling import POOLERS, pool
from percepts.types import Classifier, Clip, Encoder, Features, Inputs, TextEncoder

OTHERS = {name for name in list_models() if name.startswith("openl3")} - WALKED.keys()
"""OpenL3's networks differ in their numbers only: two of them, with random weights, stand for all."""
MEDIA = [name for name in list_models() if model_spec(name).kind in ("image", "audio") and name not in OTHERS]
TEXT = ["conse", "minilm", "fake-image"]
Have = Callable[[str], None]


def pictures(seed: int = 0) -> list[Clip]:
    rng = np.random.default_rng(seed)
    shapes = [(30, 40), (224, 224), (1, 1), (7, 300), (64, 64)]
    return [Clip(rng.integers(0, 256, (1, *shape, 3), np.uint8), "image", 0.0) for shape in shapes]


def sounds(name: str, seed: int = 0) -> list[Clip]:
    row = model_spec(name)
    length = round(row.window * row.rate)
    rng = np.random.default_rng(seed)
    noise = (rng.standard_normal((4, length)) * [[0.1], [1e-4], [0.3], [0.02]]).astype(np.float32)
    noise[2, length // 3 :] = 0
    return [
        Clip(row[None], "audio", model_spec(name).rate, valid=valid)
        for row, valid in zip(noise, (None, None, length // 3, 1), strict=True)
    ]


def clips(name: str, seed: int = 0) -> list[Clip]:
    return pictures(seed) if model_spec(name).kind == "image" else sounds(name, seed)


def hardest(name: str) -> list[Clip]:
    """Black, white and one pixel; silence, one sample, full scale."""
    if model_spec(name).kind == "image":
        return [
            Clip(np.full((1, *shape, 3), value, np.uint8), "image", 0.0)
            for shape, value in (((9, 9), 0), ((9, 9), 255), ((1, 1), 7))
        ]
    row = model_spec(name)
    length = round(row.window * row.rate)
    levels = (
        np.zeros((1, length)),
        np.zeros((1, 1)),
        np.ones((1, 1)),
        np.ones((1, length)),
        np.resize([1.0, -1.0], (1, length)),
    )
    return [Clip(level.astype(np.float32), "audio", row.rate) for level in levels]


def one(inputs: Inputs, i: int) -> Inputs:
    return {name: value[i : i + 1] for name, value in inputs.items()}


def vectors(encoder: Encoder, found: list[Clip]) -> np.ndarray:
    return pool(encoder.encode(encoder.prepare(found)), encoder.spec.pool)


@pytest.mark.parametrize("name", list_models())
def test_what_is_known_without_loading_is_true(name: str, have: Have) -> None:
    row = model_spec(name)
    encoder = load_encoder(name)
    assert encoder.spec == row
    assert isinstance(encoder, Encoder)
    assert row.pool in POOLERS
    assert row.license
    assert row.summary
    assert (row.size > 0) == (row.kind == "image")
    assert (row.rate > 0) == (row.window > 0) == (row.kind == "audio")


@pytest.mark.parametrize("name", MEDIA)
def test_frames_have_the_promised_shape(name: str, have: Have) -> None:
    have(name)
    encoder, found = load_encoder(name), clips(name)
    inputs = encoder.prepare(found)
    assert all(len(value) == len(found) for value in inputs.values())
    frames = encoder.encode(inputs)
    assert isinstance(frames, Features)  # which checks dtypes and mask
    assert len(frames.data) == len(found)
    assert frames.mask.any(axis=1).all()
    assert np.isfinite(frames.data).all()
    pooled = pool(frames, encoder.spec.pool)
    assert pooled.shape == (len(found), encoder.spec.dim)
    assert pooled.dtype == np.float32


@pytest.mark.parametrize("name", MEDIA)
def test_a_batch_is_its_singles_bit_for_bit(name: str, have: Have) -> None:
    have(name)
    encoder, found = load_encoder(name), clips(name)
    together = vectors(encoder, found)
    alone = np.concatenate([vectors(encoder, [clip]) for clip in found])
    backwards = vectors(encoder, found[::-1])[::-1]
    inputs = encoder.prepare(found)
    prepared_together = np.concatenate(
        [pool(encoder.encode(one(inputs, i)), encoder.spec.pool) for i in range(len(found))]
    )
    for other in (alone, backwards, prepared_together):
        assert np.array_equal(together, other)


@pytest.mark.parametrize("name", MEDIA)
def test_threads_change_nothing(name: str, have: Have) -> None:
    have(name)
    assert np.array_equal(*(vectors(load_encoder(name, threads=threads), clips(name)) for threads in (1, 3)))


@pytest.mark.parametrize("name", MEDIA)
def test_two_encoders_of_one_name_agree(name: str, have: Have) -> None:
    have(name)
    assert np.array_equal(vectors(load_encoder(name), clips(name)), vectors(load_encoder(name), clips(name)))


@pytest.mark.parametrize("name", MEDIA)
def test_silence_and_single_samples_have_vectors(name: str, have: Have) -> None:
    have(name)
    found = vectors(load_encoder(name), hardest(name))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", MEDIA)
def test_different_content_gets_different_vectors(name: str, have: Have) -> None:
    have(name)
    encoder = load_encoder(name)
    assert not (vectors(encoder, clips(name, 0)) == vectors(encoder, clips(name, 1))).all(axis=1)[:2].any()


@pytest.mark.parametrize("name", MEDIA)
def test_prepare_leaves_its_clips_alone(name: str) -> None:
    found = clips(name)
    before = [clip.data.copy() for clip in found]
    load_encoder(name).prepare(found)
    assert all(np.array_equal(clip.data, data) for clip, data in zip(found, before, strict=True))


@pytest.mark.parametrize("name", [name for name in MEDIA if model_spec(name).kind == "audio"])
def test_padding_does_not_count(name: str, have: Have) -> None:
    have(name)
    encoder = load_encoder(name)
    rng = np.random.default_rng(0)
    sound = (rng.standard_normal((1, round(model_spec(name).window * model_spec(name).rate))) * 0.1).astype(np.float32)
    held = sound.shape[1] // 3
    loud = np.where(np.arange(sound.shape[1]) < held, sound, np.float32(0.9))
    padded = [Clip(data, "audio", model_spec(name).rate, valid=held) for data in (sound, loud)]
    short = Clip(sound[:, :held], "audio", model_spec(name).rate)
    found = vectors(encoder, [*padded, short])
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize("name", [name for name in MEDIA if model_spec(name).kind == "image"])
def test_a_frame_of_a_film_is_a_picture(name: str, have: Have) -> None:
    have(name)
    frame = replace(pictures()[0], kind="video", rate=25.0, start=3.0)
    assert np.array_equal(vectors(load_encoder(name), [frame]), vectors(load_encoder(name), [pictures()[0]]))


@pytest.mark.parametrize("name", MEDIA)
def test_clips_that_do_not_fit_are_refused_with_the_cure(name: str) -> None:
    encoder = load_encoder(name)
    with pytest.raises(ValueError, match="at least one clip"):
        encoder.prepare([])
    if model_spec(name).kind == "image":
        with pytest.raises(ValueError, match=r"got audio \(a\.wav\)"):
            encoder.prepare([Clip(np.zeros((1, 9), np.float32), "audio", 16000.0, source="a.wav")])
        with pytest.raises(ValueError, match="cut the video first"):
            encoder.prepare([Clip(np.zeros((2, 9, 9, 3), np.uint8), "video", 25.0)])
        return
    rate = model_spec(name).rate
    with pytest.raises(ValueError, match="resample it first"):
        encoder.prepare([Clip(np.zeros((1, 9), np.float32), "audio", rate + 1)])
    with pytest.raises(ValueError, match="mix it down first"):
        encoder.prepare([Clip(np.zeros((2, 9), np.float32), "audio", rate)])
    with pytest.raises(ValueError, match="finite"):
        encoder.prepare([Clip(np.full((1, 9), np.nan, np.float32), "audio", rate)])
    with pytest.raises(ValueError, match="empty"):
        encoder.prepare([Clip(np.zeros((1, 0), np.float32), "audio", rate)])


@pytest.mark.parametrize("name", TEXT)
def test_text_has_the_dimension_of_the_media(name: str, have: Have) -> None:
    have(name)
    encoder = load_encoder(name)
    assert isinstance(encoder, TextEncoder)
    texts = ["a red flower", "the sea, at night", "", "雨の日", "word " * 1000]
    together = encoder.encode_text(texts)
    assert together.shape == (len(texts), model_spec(name).dim)
    assert together.dtype == np.float32
    assert np.array_equal(together, np.concatenate([encoder.encode_text([text]) for text in texts]))
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)  # float32 rounding of 384 squares


def test_only_encoders_of_text_take_text() -> None:
    assert {name for name in list_models() if isinstance(load_encoder(name), TextEncoder)} == set(TEXT)


def test_labels_are_named_and_their_probabilities_sum_to_one(have: Have) -> None:
    have("effnet-lite0")
    encoder = load_encoder("effnet-lite0")
    assert isinstance(encoder, Classifier)
    assert len(encoder.labels) == 1000
    inputs = encoder.prepare(pictures())
    found = encoder.classify(inputs)
    assert found.shape == (len(pictures()), 1000)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)  # float32 rounding of a thousand terms


def test_preparing_imports_no_framework() -> None:
    code = f"""
import sys
import numpy as np
from percepts.encoders import load_encoder, model_spec
from percepts.types import Clip
for name in {MEDIA}:
    row = model_spec(name)
    picture = Clip(np.zeros((1, 8, 8, 3), np.uint8), "image", 0.0)
    clip = picture if row.kind == "image" else Clip(np.zeros((1, 99), np.float32), "audio", row.rate)
    load_encoder(name).prepare([clip])
heavy = ("torch", "transformers", "tokenizers", "onnxruntime", "onnx", "openvino", "scipy")
print(*[module for module in heavy if module in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
