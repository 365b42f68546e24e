from __future__ import annotations

from pathlib import Path

import pytest
import tiny_lm
import torch

from percepts import adapters
from percepts.adapters import KINDS, SoftTokens, load_adapter, make_adapter, save_adapter, token_rms
from percepts.errors import WeightsError

SMALL: dict[str, dict[str, object]] = {
    "linear": {},
    "mlp2x_gelu": {},
    "stack": {"k": 3, "hidden": 20},
    "conv": {"stride": 3, "hidden": 20},
    "perceiver": {"latents": 4, "heads": 2, "head_dim": 8},
    "qformer": {"queries": 5, "width": 24, "heads": 4, "depth": 3},
}
CASES = [*SMALL.items(), ("stack", {"k": 4, "hidden": 12, "project": "swiglu"}), ("linear", {"norm": False})]


@pytest.fixture(params=CASES, ids=lambda case: "-".join([case[0], *map(str, case[1].values())]))
def adapter(request: pytest.FixtureRequest) -> adapters.Adapter:
    torch.manual_seed(1)
    kind, settings = request.param
    return make_adapter(kind, 16, 32, **settings).eval()


def test_every_kind_is_tested() -> None:
    assert {kind for kind, _ in CASES} == set(KINDS)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 12, 13])
def test_out_len_is_what_forward_gives(adapter: adapters.Adapter, length: int) -> None:
    found = adapter(torch.randn(2, length, 16))
    assert found.embeds.shape == (2, adapter.out_len(length), 32)
    assert found.mask.all()


def test_a_clip_in_a_padded_batch_gives_the_tokens_it_gives_alone(adapter: adapters.Adapter) -> None:
    lengths, x = [13, 1, 6, 4], torch.randn(4, 13, 16)
    mask = torch.arange(13) < torch.tensor(lengths)[:, None]
    batch = adapter(x.masked_fill(~mask[..., None], torch.nan), mask)  # what is masked may be anything
    for row, length in enumerate(lengths):
        alone = adapter(x[row : row + 1, :length])
        inside = batch.embeds[row, batch.mask[row]]
        assert len(inside) == adapter.out_len(length)
        torch.testing.assert_close(inside, alone.embeds[0], atol=2e-6, rtol=1e-5)  # sums in another order


def test_a_clip_of_padding_alone_gives_no_tokens_and_nothing_infinite(adapter: adapters.Adapter) -> None:
    found = adapter(torch.randn(2, 5, 16), torch.tensor([[True] * 5, [False] * 5]))
    assert not found.mask[1].any() and found.mask[0].all()
    assert found.embeds.isfinite().all()


def test_the_tokens_are_as_large_as_the_words_of_the_language_model(adapter: adapters.Adapter) -> None:
    lm, x = tiny_lm.llama(), torch.randn(6, 9, 16) * 30 + 5
    adapter.match_scale(token_rms(lm), x)
    words = lm.get_input_embeddings().weight.square().mean().sqrt()
    found = adapter(torch.randn(6, 9, 16) * 30 + 5).flat.square().mean().sqrt()  # other features of the same kind
    assert 0.5 <= found / words <= 2


def test_token_rms_is_of_what_the_embedding_layer_gives() -> None:
    from transformers.models.gemma3.modeling_gemma3 import Gemma3TextScaledWordEmbedding

    class Scaled:
        def get_input_embeddings(self) -> torch.nn.Module:
            return Gemma3TextScaledWordEmbedding(50, 16, 0, embed_scale=4.0)

    torch.manual_seed(0)
    assert 3.4 < token_rms(Scaled()) < 4.4  # a standard normal of 50 rows, one of them zeros, times 4


def test_gradients_reach_every_parameter(adapter: adapters.Adapter) -> None:
    adapter(torch.randn(2, 7, 16)).embeds.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in adapter.parameters())


def test_what_is_saved_comes_back(adapter: adapters.Adapter, tmp_path: Path) -> None:
    adapter.about = {"encoder": "melstats", "lm": "tiny"}
    save_adapter(adapter, tmp_path)
    again = load_adapter(tmp_path)
    x = torch.randn(2, 7, 16)
    torch.testing.assert_close(again(x).embeds, adapter(x).embeds, rtol=0, atol=0)
    assert (again.about, again.settings) == (adapter.about, adapter.settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter.json", "adapter.safetensors"]


def test_what_is_no_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no adapter\.safetensors and no adapter\.json"):
        load_adapter(tmp_path)
    save_adapter(make_adapter("linear", 3, 4), tmp_path)
    (tmp_path / "adapter.safetensors").write_bytes(b"not this")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_adapter(tmp_path)


def test_wrong_asking_says_what_there_is() -> None:
    with pytest.raises(ValueError, match="linear, mlp2x_gelu, stack"):
        make_adapter("liner", 3, 4)
    with pytest.raises(ValueError, match=r"no setting kk; it has k, hidden, project"):
        make_adapter("stack", 3, 4, kk=2)
    with pytest.raises(ValueError, match=r"at least 1, got \{'k': 0\}"):
        make_adapter("stack", 3, 4, k=0)
    with pytest.raises(ValueError, match=r"\(B, T, 3\).*got \[1, 2, 5\]"):
        make_adapter("linear", 3, 4)(torch.zeros(1, 2, 5))
    with pytest.raises(ValueError, match="mask"):
        make_adapter("linear", 3, 4)(torch.zeros(1, 2, 3), torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"embeds \(B, T, D\)"):
        SoftTokens(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool))


def test_zeros_have_no_scale() -> None:
    with pytest.raises(ValueError, match="other than zero"):
        make_adapter("linear", 3, 4, norm=False, bias=False).match_scale(1.0, torch.zeros(1, 2, 3))
