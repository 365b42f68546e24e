from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_reference_minilm import TEXTS

from percepts.encoders import load_encoder

REFERENCE = Path(__file__).parents[2] / "reference/minilm.npz"


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "torch"])
def test_vectors_are_those_of_transformers(runtime: str, have: Callable[[str], None]) -> None:
    have("minilm")
    if runtime == "openvino":
        pytest.importorskip("openvino")
    found = load_encoder("minilm", runtime=runtime).encode_text(TEXTS)  # type: ignore[attr-defined]
    # float32 sums in another order, and no padding where the reference masks it; components are about 0.05
    np.testing.assert_allclose(found, np.load(REFERENCE)["vectors"], atol=2e-6)


def test_random_weights_give_what_berts_give() -> None:
    torch = pytest.importorskip("torch")
    from transformers import BertConfig, BertModel

    from percepts.networks.bert import Bert, BertShape, rename_parameters

    shape = BertShape(words=50, positions=20, dim=24, layers=2, heads=3, inner=40)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, max_position_embeddings=20, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=40,
    )  # fmt: skip
    theirs, ours = BertModel(config).eval(), Bert(shape).eval()
    ours.load_state_dict(rename_parameters(theirs.state_dict()))
    ids = torch.randint(0, 50, (2, 7))
    with torch.no_grad():
        np.testing.assert_allclose(ours(ids), theirs(input_ids=ids).last_hidden_state, atol=1e-5)  # float32 sums


def test_token_vectors_are_masked_behind_the_end(have: Callable[[str], None]) -> None:
    have("minilm")
    encoder = load_encoder("minilm")
    frames = encoder.encode(encoder.tokenize(["one", "one two three"]))  # type: ignore[attr-defined]
    assert frames.mask.sum(axis=1).tolist() == [3, 5]  # with the marks of beginning and end
    assert not frames.data[0, 3:].any()


def test_clips_and_lone_strings_are_refused() -> None:
    encoder = load_encoder("minilm")
    with pytest.raises(TypeError, match=r"use encode_text\(texts\)"):
        encoder.prepare([])
    with pytest.raises(TypeError, match="put it in a list"):
        encoder.encode_text("a cat")  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="at least one text"):
        encoder.encode_text([])  # type: ignore[attr-defined]
