"""Settings of checkpoints that somebody else wrote: each is read, or refused with file, key and what is allowed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from transformers import CONFIG_MAPPING
from typer.testing import CliRunner

from percepts.cli import app
from percepts.encoders import load_encoder, model_spec
from percepts.encoders.hub.families import FAMILIES
from percepts.errors import WeightsError
from percepts.support.checkpoint_settings import MAX_BYTES, check_values, read_settings
from percepts.types import Clip

Make = Callable[..., Path]
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def checkpoint(tmp_path: Path, tiny_checkpoint: Make) -> Path:
    return Path(shutil.copytree(tiny_checkpoint("vit"), tmp_path / "vit"))


def change(folder: Path, name: str, **values: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def run(folder: Path) -> None:
    encoder = load_encoder(model_spec(str(folder)), runtime="torch")
    encoder.encode(encoder.prepare([Clip(np.zeros((1, 40, 50, 3), np.uint8), "image", 0.0)]))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", "x"), ("hidden_size", 2**40), ("hidden_size", 0), ("hidden_size", 2.5), ("hidden_size", True),
        ("num_hidden_layers", -1), ("num_hidden_layers", 10**6), ("image_size", 0), ("patch_size", 0),
        ("patch_size", [0, 0]), ("intermediate_size", 2**40), ("num_attention_heads", 0), ("num_channels", -3),
        ("layer_norm_eps", "x"), ("model_type", ["vit"]), ("architectures", "vit"), ("id2label", {"x": "cat"}),
        ("id2label", ["cat"]), ("vision_config", 3), ("hidden_size", [[[1]]]), ("hidden_size", None),
    ],
)  # fmt: skip
def test_a_number_of_config_that_no_network_has_names_file_and_key(checkpoint: Path, key: str, value: object) -> None:
    change(checkpoint, "config.json", **{key: value})
    with pytest.raises(WeightsError, match=rf"config\.json: expected .*{key}"):
        run(checkpoint)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", {"height": 1_000_000, "width": 1_000_000}), ("size", 0), ("size", "x"),
        ("size", {"shortest_edge": -1}),
        ("size", {"shortest_edge": 10**6}), ("size", {"height": "x", "width": 3}), ("image_mean", "x"),
        ("image_mean", ["x", 0, 0]), ("image_mean", [0.5]), ("image_std", [0, 0, 0]), ("image_std", 0),
        ("rescale_factor", 0), ("rescale_factor", "x"), ("resample", 99), ("do_resize", "yes"),
    ],
)  # fmt: skip
def test_a_setting_of_preprocessing_that_is_none_names_file_and_key(checkpoint: Path, key: str, value: object) -> None:
    change(checkpoint, "preprocessor_config.json", **{key: value})
    with pytest.raises(WeightsError, match=rf"{key}.*preprocessor_config|preprocessor_config.*{key}"):
        run(checkpoint)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "generation_config.json"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "expected JSON"), (b"{", "expected JSON"), (b"[1]", "expected a JSON object, got a list"),
        (b"\xff\xfe{}", "UTF-8, got byte 0xff"), (b'{"a": NaN}', "NaN"), (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"), (b'{"a": ' + DEEP.encode() + b"}", "levels of nesting"),
        (b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}", "more than 32 levels"),
        (b'{"a": ' + b"9" * 5000 + b"}", "expected JSON"), (b'{"hidden_size": ' + b"9" * 4000 + b"}", "400. digits"),
        (b'{"a": 1e999}', "1e999 is no number"),
    ],
    ids=range(12),
)  # fmt: skip
def test_a_file_that_is_no_settings_says_why(checkpoint: Path, name: str, text: bytes, reason: str) -> None:
    (checkpoint / name).write_bytes(text)
    with pytest.raises(WeightsError, match=rf"{name}: .*{reason}"):
        run(checkpoint)


def test_a_file_of_settings_that_has_no_end_is_not_read_to_it(checkpoint: Path) -> None:
    with (checkpoint / "config.json").open("r+b") as file:
        file.truncate(MAX_BYTES * 100)
    with pytest.raises(WeightsError, match="at most 67,108,864 bytes"):
        run(checkpoint)


@pytest.mark.parametrize("values", [{"num_hidden_layers": 900, "hidden_size": 60_000}, {"hidden_size": 200_000}])
def test_a_network_far_larger_than_its_weights_is_not_allocated(checkpoint: Path, values: dict[str, int]) -> None:
    change(checkpoint, "config.json", **values)
    with pytest.raises(WeightsError, match="not of one checkpoint"):
        run(checkpoint)


def test_settings_that_do_not_go_together_are_no_traceback_of_transformers(checkpoint: Path) -> None:
    change(checkpoint, "config.json", hidden_size=33, num_attention_heads=4)
    with pytest.raises(WeightsError, match="transformers cannot read"):
        run(checkpoint)


def test_weights_that_are_cut_name_the_checkpoint(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="vit: transformers cannot read"):
        run(checkpoint)


@pytest.mark.parametrize(
    "header", ["[]", '{"a": 1}', DEEP, '{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}']
)
def test_a_table_of_tensors_that_is_none_names_the_file(checkpoint: Path, header: str) -> None:
    (checkpoint / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(WeightsError, match=r"model\.safetensors: expected"):
        run(checkpoint)


def test_the_defaults_of_every_family_that_is_read_here_are_allowed() -> None:
    known = set(FAMILIES) & set(CONFIG_MAPPING)
    assert len(known) > 20
    for name in known:
        check_values(json.loads(CONFIG_MAPPING[name]().to_json_string(use_diff=False)), name)


@pytest.mark.parametrize("family", ["bert", "mpnet"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("modules.json", "{}"), ("modules.json", "[3]"), ("modules.json", DEEP),
        ("modules.json", '[{"type": "Pooling", "path": "../../secret"}]'),
        ("sentence_bert_config.json", '{"max_seq_length": "x"}'),
        ("config_sentence_transformers.json", '{"prompts": ["x"]}'),
    ],
)  # fmt: skip
def test_the_files_of_sentence_transformers_are_read_the_same_way(
    family: str, name: str, text: str, tmp_path: Path, tiny_checkpoint: Make
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint("sentence", family), tmp_path / "copy"))
    (folder / name).write_text(text)
    with pytest.raises(WeightsError, match=rf"{name}.*expected"):
        encoder: Any = load_encoder(model_spec(str(folder)))
        encoder.encode_text(["a"], prompt="query")


# Heads


def head(folder: Path, **config: Any) -> Path:
    folder.mkdir()
    said = {"model_type": "percepts-head", "encoder": "fake-image", "labels": ["a", "b"], "task": "single", **config}
    (folder / "config.json").write_text(json.dumps(said))
    weights = {"mean": np.zeros(8), "scale": np.ones(8), "0.weight": np.ones((2, 8)), "0.bias": np.zeros(2)}
    save_file({name: array.astype(np.float32) for name, array in weights.items()}, folder / "head.safetensors")
    return folder


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    import huggingface_hub

    asked: list[str] = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: asked.append(name))
    return asked


def test_a_head_on_an_encoder_of_ours_works(tmp_path: Path) -> None:
    encoder: Any = load_encoder(str(head(tmp_path / "head")))
    inputs = encoder.prepare([Clip(np.zeros((1, 40, 50, 3), np.uint8), "image", 0.0)])
    assert encoder.classify(inputs).tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("name", ["stranger/model", "stranger/model@main", "stranger/model@abc"])
def test_a_head_fetches_nothing_that_it_names_itself(tmp_path: Path, name: str, no_hub: list[str]) -> None:
    with pytest.raises(WeightsError, match=f"if you trust it: percepts models --fetch {name}"):
        model_spec(str(head(tmp_path / "head", encoder=name)))
    assert not no_hub


def test_the_command_line_says_so_too(tmp_path: Path, no_hub: list[str]) -> None:
    folder = head(tmp_path / "head", encoder="stranger/model")
    result = CliRunner().invoke(app, ["models", str(folder)])
    assert result.exit_code == 1
    assert isinstance(result.exception, WeightsError)
    assert not no_hub


def test_a_head_finds_its_encoder_inside_itself_or_in_a_folder_of_this_machine(
    tmp_path: Path, tiny_checkpoint: Make
) -> None:
    inside = head(tmp_path / "inside", encoder="encoder")
    shutil.copytree(tiny_checkpoint("vit"), inside / "encoder")
    outside = head(tmp_path / "outside", encoder=str(tiny_checkpoint("vit")))
    assert model_spec(str(inside)).dim == model_spec(str(outside)).dim == model_spec(str(tiny_checkpoint("vit"))).dim


@pytest.mark.parametrize(
    "config",
    [
        {"encoder": "."}, {"encoder": 3}, {"encoder": "no-such"}, {"encoder": "/no/such/folder"}, {"encoder": ""},
        {"encoder": "../../etc"}, {"labels": "ab"}, {"labels": [1, 2]}, {"labels": None}, {"task": "both"},
        {"asked": [1]}, {"asked": {"pool": "median"}}, {"asked": {"size": -1}}, {"asked": {"runtime": "x"}},
    ],
)  # fmt: skip
def test_what_a_head_cannot_say_is_refused(tmp_path: Path, config: dict[str, Any], no_hub: list[str]) -> None:
    with pytest.raises(WeightsError):
        model_spec(str(head(tmp_path / "head", **config)))
    assert not no_hub


def test_a_head_of_a_head_does_not_go_on_for_ever(tmp_path: Path) -> None:
    first = head(tmp_path / "first", encoder=str(tmp_path / "second"))
    head(tmp_path / "second", encoder=str(first))
    with pytest.raises(WeightsError, match="is a head itself"):
        model_spec(str(first))


@pytest.mark.parametrize("name", ["mean", "0.weight", "0.bias"])
@pytest.mark.parametrize("array", [np.zeros(3, np.float32), np.full((2, 8), np.nan, np.float32)])
def test_weights_of_a_head_that_do_not_fit_are_named(tmp_path: Path, name: str, array: np.ndarray) -> None:
    from safetensors.numpy import load_file

    folder = head(tmp_path / "head")
    save_file({**load_file(folder / "head.safetensors"), name: array}, folder / "head.safetensors")
    encoder: Any = load_encoder(str(folder))
    with pytest.raises(WeightsError, match=r"head\.safetensors"):
        encoder.classify(encoder.prepare([Clip(np.zeros((1, 40, 50, 3), np.uint8), "image", 0.0)]))


# Adapters


@pytest.mark.parametrize(
    "facts",
    [
        {"kind": "no"}, {"in_dim": "x"}, {"in_dim": 2**40}, {"out_dim": -1}, {"settings": [1]}, {"settings": None},
        {"settings": {"k": 0}}, {"settings": {"hidden": 2**18}}, {"settings": {"hidden": "x"}}, {"in_dim": 2**18},
        {"about": 3},
    ],
)  # fmt: skip
def test_facts_of_an_adapter_that_are_none_are_refused_before_anything_is_made(
    tmp_path: Path, facts: dict[str, Any]
) -> None:
    from percepts import adapters

    adapters.save_adapter(adapters.make_adapter("stack", 4, 6, k=2, hidden=8), tmp_path)
    change(tmp_path, "adapter.json", **facts)
    with pytest.raises(WeightsError, match=r"adapter"):
        adapters.load_adapter(tmp_path)


def test_a_key_that_is_asked_for_and_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"config\.json: expected a value for 'hidden_size'"):
        read_settings(tmp_path / "config.json")["hidden_size"]
