from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from percepts.encoders import load_encoder, pooling
from percepts.encoders.builtin import conse, effnet
from percepts.media.image import open_image

QUERIES = {
    "a cup of coffee": "coffee.png",
    "a cat": "chelsea.png",
    "a rocket launch": "rocket.jpg",
    "motorbike": "motorcycle_left.png",
    "a flower": "flower.jpg",
    "temple in Asia": "china.jpg",
}


@cache
def gallery() -> tuple[list[str], np.ndarray]:
    """Every picture inside scikit-image and scikit-learn, and its vector."""
    folders = [
        Path(pytest.importorskip("skimage").__file__).parent / "data",
        Path(pytest.importorskip("sklearn").__file__).parent / "datasets/images",
    ]
    files = [file for folder in folders for file in sorted(folder.iterdir()) if file.suffix in (".png", ".jpg", ".gif")]
    clips = [open_image(file) for file in files]
    encoder = load_encoder("conse")
    return [file.name for file in files], pooling.pool(encoder.encode(encoder.prepare(clips)), "mean")


@pytest.mark.parametrize(("query", "picture"), QUERIES.items())
def test_words_find_the_picture(query: str, picture: str, have: Callable[[str], None]) -> None:
    have("conse")
    names, vectors = gallery()
    scores = (load_encoder("conse").encode_text([query]) @ vectors.T)[0]  # type: ignore[attr-defined]
    assert names[scores.argmax()] == picture, sorted(zip(scores, names, strict=True))[:-4:-1]


def test_vectors_have_length_one(have: Callable[[str], None]) -> None:
    have("conse")
    np.testing.assert_allclose(np.linalg.norm(gallery()[1], axis=1), 1, atol=1e-6)  # float32 rounding


def test_a_sure_picture_lies_on_its_label(monkeypatch: pytest.MonkeyPatch, have: Callable[[str], None]) -> None:
    have("conse")
    encoder = load_encoder("conse")
    scores = np.where(np.arange(1000) == 954, 100.0, 0.0).astype(np.float32)  # banana
    monkeypatch.setattr(encoder, "_run", lambda _: (np.zeros((1, 49, 1280), np.float32), scores[None]))
    picture = encoder.encode({}).data[0, 0]
    text = encoder.encode_text([conse.list_label_texts()[954]])[0]  # type: ignore[attr-defined]
    assert picture @ text > 0.9999  # the label's vector is kept as float16


def test_the_labels_kept_are_what_minilm_says_of_their_texts(have: Callable[[str], None]) -> None:
    have("minilm")
    some = slice(0, 1000, 40)
    kept = np.load(Path(conse.__file__).parent / "data/conse_labels.npy")
    found = load_encoder("minilm").encode_text(conse.list_label_texts()[some])  # type: ignore[attr-defined]
    assert kept.shape == (1000, 384)
    np.testing.assert_allclose(found, kept[some].astype(np.float32), atol=1e-4)  # float16 of components up to 0.2


def test_labels_are_a_thousand_and_different() -> None:
    assert len(set(conse.list_label_texts())) == 1000
    assert len({synset for synset, _, _ in effnet.read_label_rows()}) == 1000
    assert effnet.list_labels()[0] == "tench, Tinca tinca"
