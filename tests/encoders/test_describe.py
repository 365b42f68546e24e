"""What is said of a model is what it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import transformers

import percepts
from percepts import weights
from percepts.encoders import describe, model_spec
from percepts.errors import UnknownModel


@pytest.mark.parametrize(
    ("family", "outputs", "labels"),
    [("vit", ("vectors",), 0), ("clip", ("vectors", "text", "probabilities"), 0), ("ast", ("vectors", "labels"), 2)],
)
def test_a_checkpoint_says_its_parameters_and_outputs(
    family: str, outputs: tuple[str, ...], labels: int, tiny_checkpoint: Callable[..., Path]
) -> None:
    folder = tiny_checkpoint(family)
    found = percepts.describe_model(str(folder))
    kind = {"vit": "ViTModel", "clip": "CLIPModel", "ast": "ASTForAudioClassification"}[family]
    model = getattr(transformers, kind).from_pretrained(folder)
    assert found["parameters"] == model.num_parameters()
    assert found["memory"] == 4 * found["parameters"]
    assert (found["outputs"], found["labels"], found["architectures"]) == (outputs, labels, [kind])


def test_a_family_that_is_no_encoder_is_described_by_its_files(tmp_path: Path) -> None:
    config = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=40, n_positions=16)
    found = percepts.describe_model(str(tiny.save(tmp_path / "gpt2", config, "GPT2LMHeadModel")))
    assert found["family"] == "gpt2" and found["parameters"] > 0
    with pytest.raises(UnknownModel):
        percepts.describe_model("nonsuch")


@pytest.mark.parametrize("name", describe.PARAMETERS)
def test_the_counts_of_weights_in_wheels_are_theirs(name: str, have: Callable[[str], None]) -> None:
    import torch
    from safetensors import safe_open

    have(name)
    path = weights.local_path(model_spec(name).weights[0])
    if path.suffix == ".safetensors":
        with safe_open(path, "np") as file:
            held = {key: torch.Size(file.get_slice(key).get_shape()).numel() for key in file.keys()}  # noqa: SIM118
    else:
        state = torch.load(path, weights_only=True, map_location="cpu")
        held = {key: value.numel() for key, value in state.get("model_state", state).items()}
    left_out = ("running_", "num_batches_tracked", "position_ids", "similarity_")
    count = sum(n for key, n in held.items() if not any(part in key for part in left_out))
    assert percepts.describe_model(name)["parameters"] == describe.PARAMETERS[name] == count
