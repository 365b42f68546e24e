"""Classifiers of hub checkpoints: scores equal to those of transformers' own classes on the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import transformers
from PIL import Image

from percepts.encoders import load_encoder, model_spec
from percepts.encoders.scores import sigmoid, softmax
from percepts.errors import WeightsError
from percepts.types import Classifier, Clip

CLOSE = 1e-5
"""Of scores of about 1. Kernels may sum in another order when a batch has another size: some float32 steps of 1e-7."""
PICTURES = ("vit", "deit", "deit_teacher", "beit", "data2vec", "dino2", "dino2_registers", "imagegpt")
FILMS = ("videomae", "timesformer")
SOUNDS = ("ast", "whisper", "wav2vec2", "hubert", "wavlm")
PROCESSORS = {
    "vit": "ViTImageProcessorPil", "deit": "DeiTImageProcessorPil", "beit": "BeitImageProcessorPil",
    "dino2": "BitImageProcessorPil", "imagegpt": "ImageGPTImageProcessorPil", "videomae": "VideoMAEImageProcessorPil",
}  # fmt: skip

Make = Callable[..., Path]


def model_of(folder: Path, family: str) -> Any:
    return getattr(transformers, tiny.HEADS[family]).from_pretrained(folder).eval()


def film(seed: int = 0, frames: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, 40, 50, 3), np.uint8)


@pytest.mark.parametrize("family", PICTURES)
def test_scores_of_pictures_equal_those_of_transformers(family: str, tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint("classifier", family)
    encoder = load_encoder(str(folder), runtime="torch")
    assert isinstance(encoder, Classifier)
    inputs = encoder.prepare([Clip(picture[None], "image", 0.0) for picture in tiny.pictures()])
    base = {"deit_teacher": "deit", "data2vec": "beit", "dino2_registers": "dino2"}.get(family, family)
    processor = getattr(transformers, PROCESSORS[base]).from_pretrained(folder)
    images = [Image.fromarray(picture) for picture in tiny.pictures()]
    theirs = processor(images, return_tensors="pt")
    with torch.inference_mode():
        expected = model_of(folder, family)(**theirs).logits.numpy()
    np.testing.assert_allclose(encoder.logits(inputs), expected, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("family", FILMS)
def test_scores_of_films_equal_those_of_transformers(family: str, tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint("classifier", family)
    encoder = load_encoder(str(folder), runtime="torch")
    films = [film(0), film(1)]
    inputs = encoder.prepare([Clip(frames, "video", encoder.spec.rate) for frames in films])
    processor = transformers.VideoMAEImageProcessorPil.from_pretrained(folder)
    theirs = processor([list(frames) for frames in films], return_tensors="pt")
    with torch.inference_mode():
        expected = model_of(folder, family)(**theirs).logits.numpy()
    np.testing.assert_allclose(encoder.logits(inputs), expected, atol=CLOSE, rtol=0)


@pytest.mark.filterwarnings("ignore:At least one mel filter")  # of transformers' own filter bank for AST
@pytest.mark.parametrize("family", SOUNDS)
def test_scores_of_sounds_equal_those_of_transformers(family: str, tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint("classifier", family)
    encoder = load_encoder(str(folder))
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    model, sounds = model_of(folder, family), tiny.sounds()[:4]
    inputs = encoder.prepare([Clip(sound[None], "audio", 16_000.0) for sound in sounds])
    expected = []
    for sound in sounds:  # one by one: their batches would pad, and some of these networks were never shown padding
        theirs = extractor(sound, sampling_rate=16_000, return_tensors="pt")
        theirs.pop("attention_mask", None)
        with torch.inference_mode():
            expected.append(model(**theirs).logits[0].numpy())
    np.testing.assert_allclose(encoder.logits(inputs), expected, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("family", ["vit", "ast", "wav2vec2", "videomae"])
def test_a_batch_equals_single_ones(family: str, tiny_checkpoint: Make) -> None:
    encoder = load_encoder(str(tiny_checkpoint("classifier", family)))
    clips = {
        "image": lambda: [Clip(picture[None], "image", 0.0) for picture in tiny.pictures()],
        "audio": lambda: [Clip(sound[None], "audio", 16_000.0) for sound in tiny.sounds()],
        "video": lambda: [Clip(film(n), "video", encoder.spec.rate) for n in range(3)],
    }[encoder.spec.kind]()
    together = encoder.logits(encoder.prepare(clips))
    alone = np.concatenate([encoder.logits(encoder.prepare([clip])) for clip in clips])
    np.testing.assert_allclose(together, alone, atol=CLOSE, rtol=0)


def test_labels_and_their_kind_come_from_the_config(tiny_checkpoint: Make) -> None:
    single = load_encoder(str(tiny_checkpoint("classifier", "vit")))
    multi = load_encoder(str(tiny_checkpoint("classifier", "vit", "multi_label_classification")))
    assert single.labels == multi.labels == tuple(tiny.NAMES.values())
    assert (single.multi_label, multi.multi_label) == (False, True)
    inputs = single.prepare([Clip(tiny.pictures()[0][None], "image", 0.0)])
    np.testing.assert_array_equal(single.classify(inputs), softmax(single.logits(inputs)))
    np.testing.assert_array_equal(multi.classify(inputs), sigmoid(multi.logits(inputs)))


def test_a_config_that_says_no_labels_has_two(tiny_checkpoint: Make) -> None:
    assert load_encoder(str(tiny_checkpoint("ast"))).labels == ("LABEL_0", "LABEL_1")


def test_a_checkpoint_without_a_head_has_no_labels_and_gives_no_scores(tiny_checkpoint: Make) -> None:
    encoder = load_encoder(str(tiny_checkpoint("vit")))
    assert encoder.labels == ()
    with pytest.raises(WeightsError, match="classifier"):  # transformers would draw a random one and warn
        encoder.logits(encoder.prepare([Clip(tiny.pictures()[0][None], "image", 0.0)]))


def test_a_regression_has_no_labels(tiny_checkpoint: Make) -> None:
    assert load_encoder(str(tiny_checkpoint("classifier", "vit", "regression"))).labels == ()


def test_a_family_without_a_classifier_of_transformers_has_no_labels(tiny_checkpoint: Make) -> None:
    assert load_encoder(str(tiny_checkpoint("dino3"))).labels == ()


def test_another_window_fits_the_positions_of_the_classifier(tiny_checkpoint: Make) -> None:
    row = model_spec(str(tiny_checkpoint("classifier", "ast")), window=1.0)
    encoder = load_encoder(row)
    scores = encoder.logits(encoder.prepare([Clip(tiny.sounds()[0][None, :16_000], "audio", 16_000.0)]))
    assert scores.shape == (1, 5) and np.isfinite(scores).all()


def test_probabilities_of_large_scores_are_finite() -> None:
    scores = np.array([[1e4, -1e4, 0.0]], np.float32)
    np.testing.assert_allclose(softmax(scores), [[1, 0, 0]])
    np.testing.assert_allclose(sigmoid(scores), [[1, 0, 0.5]])
