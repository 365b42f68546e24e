"""A name that is a checkpoint: found, known by its settings alone, the same everywhere, and refused with reasons."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import transformers
from PIL import Image

from percepts import embed, search
from percepts.encoders import load_encoder, model_spec
from percepts.encoders.hub.families import FAMILIES
from percepts.errors import SettingsDiffer, UnknownModel, WeightsError
from percepts.types import Clip
from percepts.weights import hash_weights
from percepts.weights.checkpoint import hash_checkpoint as contents

Make = Callable[..., Path]


def picture() -> Clip:
    return Clip(tiny.pictures()[0][None], "image", 0.0)


def test_a_spec_comes_from_the_settings_and_not_from_the_weights(tiny_checkpoint: Make) -> None:
    row = model_spec(str(tiny_checkpoint("clip")))
    assert (row.kind, row.dim, row.pool, row.size, row.rate, row.window) == ("image", 24, "l2mean", 36, 0.0, 0.0)
    assert row.name == f"clip@{contents(row.weights[0])[:8]}"
    assert pickle.loads(pickle.dumps(row)) == row


def test_preparing_for_any_family_loads_no_framework(tiny_checkpoint: Make) -> None:
    names = ("vit", "dino3", "clip", "siglip2", "videomae", "imagegpt", "fuyu", "whisper", "ast", "wav2vec2", "clap")
    folders = [str(tiny_checkpoint(name)) for name in names]
    code = (
        "import sys, numpy as np\n"
        "from percepts.types import Clip\n"
        "from percepts.encoders import load_encoder, model_spec\n"
        f"for folder in {folders!r}:\n"
        "    row = model_spec(folder)\n"
        "    data = {'image': np.zeros((1, 40, 30, 3), np.uint8), 'video': np.zeros((4, 40, 30, 3), np.uint8),\n"
        "            'audio': np.zeros((1, 9000), np.float32)}[row.kind]\n"
        "    load_encoder(row).prepare([Clip(data, row.kind, row.rate)])\n"
        "print(*[m for m in ('torch', 'transformers', 'onnxruntime', 'huggingface_hub') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not found


def test_an_unknown_family_is_an_error_that_lists_them(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UnknownModel, match="no family for model_type 'resnet'") as error:
        model_spec(str(tmp_path))
    assert all(family in str(error.value) for family in FAMILIES)


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(
        WeightsError, match=r"expected weights as \*\.safetensors, found config.json, pytorch_model.bin"
    ):
        model_spec(str(tmp_path))


def test_a_folder_that_is_no_checkpoint_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(WeightsError, match=r"without config.json is no checkpoint; it holds notes.txt"):
        model_spec(str(tmp_path))


@pytest.mark.parametrize("name", ["./no-such-model", "/no/such/model", "../model"])
def test_a_path_to_nothing_is_not_looked_for_on_the_hub(name: str) -> None:
    with pytest.raises(WeightsError, match=r"there is no such folder; expected one with config\.json"):
        model_spec(name)


def test_a_hub_id_that_cannot_be_had_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="percepts models --fetch nobody/nothing"):
        model_spec("nobody/nothing")


def test_percepts_offline_forbids_fetching_a_hub_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("PERCEPTS_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("the hub was asked"))
    with pytest.raises(WeightsError, match=r"PERCEPTS_OFFLINE forbids fetching owner/name \(main\)"):
        model_spec("owner/name")


def test_a_hub_id_is_found_in_the_hubs_own_cache_and_pinned(
    tiny_checkpoint: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    root = tmp_path / "models--someone--tiny-vit"
    shutil.copytree(tiny_checkpoint("vit"), root / "snapshots" / commit)
    (root / "snapshots" / commit / "README.md").write_text("---\ntags:\n- vision\nlicense: mit\n---\n# Tiny\n")
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    row = model_spec("someone/tiny-vit")
    assert (row.name, row.weights, row.license) == ("someone/tiny-vit", (f"someone/tiny-vit@{commit}",), "mit")
    assert model_spec("someone/tiny-vit@0123456").weights == row.weights
    local = load_encoder(str(tiny_checkpoint("vit")))
    inputs = local.prepare([picture()])
    assert np.array_equal(load_encoder(row).encode(inputs).data, local.encode(inputs).data)


def test_no_remote_code_is_ever_run(tiny_checkpoint: Make, tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    shutil.copytree(tiny_checkpoint("vit"), folder)
    (folder / "evil.py").write_text("raise SystemExit('remote code was run')")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}
    (folder / "config.json").write_text(json.dumps(config))
    encoder = load_encoder(str(folder))
    assert encoder.encode(encoder.prepare([picture()])).data.shape == (1, 17, 32)


def test_weights_that_are_missing_are_an_error_and_not_random(tiny_checkpoint: Make, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "holes"
    shutil.copytree(tiny_checkpoint("vit"), folder)
    tensors = load_file(folder / "model.safetensors")
    gone = next(name for name in tensors if "layers.1" in name or "layer.1" in name)
    save_file({k: v for k, v in tensors.items() if k != gone}, folder / "model.safetensors", {"format": "pt"})
    encoder = load_encoder(str(folder))
    with pytest.raises(WeightsError, match="1 parameters of ViTModel are not in the checkpoint"):
        encoder.encode(encoder.prepare([picture()]))


def test_a_classifiers_checkpoint_gives_the_same_vector_at_every_load(tiny_checkpoint: Make) -> None:
    # Trap 23: transformers makes up the pooler that such a checkpoint has not, another one each time.
    folder = tiny_checkpoint("vit", "ViTForImageClassification")
    values = torch.zeros(1, 3, 32, 32)
    made_up = [transformers.ViTModel.from_pretrained(folder).eval()(values).pooler_output for _ in range(2)]
    assert not torch.equal(*made_up)
    encoders = [load_encoder(str(folder)) for _ in range(2)]
    first, second = (encoder.encode(encoder.prepare([picture()])).data for encoder in encoders)
    assert np.array_equal(first, second)


def test_a_pool_the_family_has_not_is_refused(tiny_checkpoint: Make) -> None:
    row = model_spec(str(tiny_checkpoint("whisper")))
    with pytest.raises(ValueError, match="expected pool to be mean, got 'cls'"):
        load_encoder(replace(row, pool="cls"))
    with pytest.raises(
        ValueError, match="expected precision to be float32, int8, int8-unchecked, bfloat16, got 'half'"
    ):
        load_encoder(replace(row, precision="half"))


def test_other_weights_in_the_folder_change_the_digest(tiny_checkpoint: Make, tmp_path: Path) -> None:
    folder = tmp_path / "vit"
    shutil.copytree(tiny_checkpoint("vit"), folder)
    before = hash_weights([str(folder)])
    assert before == hash_weights([str(tiny_checkpoint("vit"))])
    with (folder / "preprocessor_config.json").open("a") as file:
        file.write("\n")
    assert hash_weights([str(folder)]) != before


def test_a_job_with_a_checkpoint_is_searched_by_words_and_refuses_another(
    tiny_checkpoint: Make, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, pixels in enumerate(tiny.pictures()):
        Image.fromarray(pixels).save(photos / f"{i}.png")
    clip = str(tiny_checkpoint("clip"))
    report = embed(photos, tmp_path / "out", models=[clip], workers=1)
    assert (report.done, report.failed) == (len(tiny.pictures()), 0)
    assert embed(photos, tmp_path / "out", models=[clip], workers=1).unchanged == len(tiny.pictures())
    hits = search(tmp_path / "out", "a photo of the cat", k=3)
    encoder = load_encoder(clip)
    vectors = encoder.encode(encoder.prepare([Clip(p[None], "image", 0.0) for p in tiny.pictures()])).data[:, 0]
    scores = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) @ encoder.encode_text(["a photo of the cat"])[0]
    assert [Path(hit.record.source).stem for hit in hits] == [str(i) for i in np.argsort(-scores)[:3]]
    with pytest.raises(SettingsDiffer):
        embed(photos, tmp_path / "out", models=[str(tiny_checkpoint("siglip"))], workers=1)
