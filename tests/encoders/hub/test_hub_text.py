"""Sentence encoders of hub checkpoints: equal to transformers' states pooled over the tokens that are there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import transformers

from percepts.encoders import model_spec
from percepts.errors import WeightsError

Make = Callable[..., Path]
TEXTS = ["a photo of the cat", "dog", "the red sky and three blue tree rain sound of piano green two dog cat", ""]
CLOSE = 1e-5  # values below 1; only the order of summing differs, for theirs runs padded


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "distilbert", "mpnet"])
def test_vectors_equal_transformers_states_pooled_and_normed(kind: str, pooling: str, tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint("sentence", kind, pooling)
    ours = tiny.load(str(folder)).encode_text(TEXTS)
    # Right padding and its mask, as sentence-transformers runs it; RoBERTa's positions need pad id 0 as here.
    limit = 14 if kind in ("roberta", "xlm-roberta", "mpnet") else 16
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding=True, truncation=True, max_length=limit, return_tensors="pt", return_token_type_ids=False
    )
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    vectors = (states * mask).sum(1) / mask.sum(1) if pooling == "mean" else states[:, 0]
    expected = torch.nn.functional.normalize(vectors, dim=1).numpy()
    np.testing.assert_allclose(ours, expected, atol=CLOSE, rtol=0)


def test_a_text_alone_equals_a_text_among_longer_ones(tiny_checkpoint: Make) -> None:
    encoder = tiny.load(str(tiny_checkpoint("sentence")))
    together = encoder.encode_text(TEXTS)
    np.testing.assert_allclose(together, np.concatenate([encoder.encode_text([t]) for t in TEXTS]), atol=CLOSE, rtol=0)


def test_a_prompt_is_put_before_the_text(tiny_checkpoint: Make) -> None:
    encoder = tiny.load(str(tiny_checkpoint("sentence")))
    named, plain = encoder.encode_text(["the cat"], prompt="query"), encoder.encode_text(["a photo of the cat"])
    assert np.array_equal(named, plain)
    assert not np.array_equal(named, encoder.encode_text(["the cat"]))


def test_modules_that_are_not_read_here_are_an_error(tiny_checkpoint: Make, tmp_path: Path) -> None:
    folder = tmp_path / "dense"
    tiny.sentence(folder)
    rows = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(
        json.dumps([*rows, {"path": "3", "type": "sentence_transformers.models.Dense"}])
    )
    with pytest.raises(WeightsError, match="Dense, which is not read here"):
        model_spec(str(folder))


def test_clips_are_not_text(tiny_checkpoint: Make) -> None:
    with pytest.raises(TypeError, match="use encode_text"):
        tiny.load(str(tiny_checkpoint("sentence"))).prepare([])
    with pytest.raises(TypeError, match="put it in a list"):
        tiny.load(str(tiny_checkpoint("sentence"))).encode_text("cat")
