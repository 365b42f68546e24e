"""The same random weights in transformers' modules and in ours: the same tokens."""

from __future__ import annotations

import torch
import transformers
from torch import nn

from percepts.adapters import make_adapter

SIZES = {"num_attention_heads": 4}
CLOSE = {"atol": 2e-6, "rtol": 1e-5}  # float32, sums in another order


def randomised(module: nn.Module) -> nn.Module:
    """Every parameter, norms and biases too, so that none goes unnoticed."""
    torch.manual_seed(11)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (0.5 if parameter.ndim == 1 else 0))
    return module.eval()


def moved(theirs: nn.Module, ours: nn.Module, names: dict[str, str]) -> None:
    """Their weights into ours: `names` turn parts of their names into parts of ours. Each is used once."""
    state = {}
    for name, value in theirs.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        assert name not in state
        state[name] = value
    ours.load_state_dict(state)


def test_linear_is_the_projector_of_qwen2_audio() -> None:
    from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioMultiModalProjector

    config = transformers.Qwen2AudioConfig(audio_config={"d_model": 16}, text_config={"hidden_size": 24})
    theirs, ours = randomised(Qwen2AudioMultiModalProjector(config)), make_adapter("linear", 16, 24, norm=False)
    moved(theirs, ours, {})
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(ours(x).embeds, theirs(x), **CLOSE)


def test_mlp2x_gelu_is_the_projector_of_llava() -> None:
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    config = transformers.LlavaConfig(vision_config={**SIZES, "hidden_size": 16, "model_type": "clip_vision_model"},
                                      text_config={**SIZES, "hidden_size": 24, "model_type": "llama"})  # fmt: skip
    theirs, ours = randomised(LlavaMultiModalProjector(config)), make_adapter("mlp2x_gelu", 16, 24)
    moved(theirs, ours, {})
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(ours(x).embeds, theirs(x), **CLOSE)


def test_perceiver_is_the_resampler_of_idefics() -> None:
    from transformers.models.idefics.perceiver import IdeficsPerceiverResampler

    config = transformers.IdeficsConfig(
        vision_config={"embed_dim": 16}, perceiver_config={"qk_layer_norms_perceiver": False}
    )
    theirs = randomised(IdeficsPerceiverResampler(config, 16, 2, 3, 8, 5))
    ours = make_adapter("perceiver", 16, 16, latents=5, heads=3, head_dim=8, depth=2).eval()
    with torch.no_grad():  # theirs ends at the norm
        ours.linear.weight.copy_(torch.eye(16))
        ours.linear.bias.zero_()
    names = {".0.context_layer_norm": ".norm_context", ".0.latents_layer_norm": ".norm_latents",
             "0.q_proj": "q", "0.k_proj": "k", "0.v_proj": "v", "0.output_proj": "out", "1.ln": "mlp.0",
             "1.fc": "mlp.1", "1.c_proj": "mlp.3", "layer_norm": "norm"}  # fmt: skip
    state = {f"linear.{name}": value for name, value in ours.linear.state_dict().items()}
    whole = nn.Module()
    whole.state_dict = lambda: {**theirs.state_dict(), **state}  # type: ignore[method-assign,assignment]
    moved(whole, ours, names)
    x = torch.randn(2, 7, 16)
    torch.testing.assert_close(ours(x).embeds, theirs(x), **CLOSE)


def test_qformer_is_that_of_blip_2() -> None:
    from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel

    config = transformers.Blip2QFormerConfig(hidden_size=24, num_hidden_layers=3, num_attention_heads=4,
                                             intermediate_size=96, encoder_hidden_size=16)  # fmt: skip
    theirs, project = randomised(Blip2QFormerModel(config)), randomised(nn.Linear(24, 20))
    queries = torch.randn(1, 6, 24)
    ours = make_adapter("qformer", 16, 20, queries=6, width=24, depth=3, heads=4).eval()
    whole = nn.Module()
    whole.state_dict = lambda: {  # type: ignore[method-assign,assignment]
        **theirs.state_dict(), "queries": queries[0], "linear.weight": project.weight, "linear.bias": project.bias
    }  # fmt: skip
    names = {"encoder.layer.": "layers.", "crossattention": "cross", ".attention.attention": ".own",
             ".attention.output": ".own", "cross.attention": "cross", "cross.output": "cross", ".query.": ".q.",
             ".key.": ".k.", ".value.": ".v.", "dense": "out", "LayerNorm": "norm", "intermediate_query.out": "up",
             "output_query.out": "down", "output_query.norm": "norm", "layernorm": "norm"}  # fmt: skip
    moved(whole, ours, names)
    x, mask = torch.randn(2, 7, 16), torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    found = theirs(query_embeds=queries.expand(2, -1, -1), encoder_hidden_states=x, encoder_attention_mask=mask.long())
    torch.testing.assert_close(ours(x, mask).embeds, project(found.last_hidden_state), **CLOSE)
