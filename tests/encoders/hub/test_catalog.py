"""Rows with a short name: every family has one, and each says what a checkpoint of its settings would say of itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import transformers

from percepts import encoders
from percepts.encoders.hub.catalog import CATALOG
from percepts.encoders.hub.families import FAMILIES
from percepts.weights.checkpoint import Checkpoint

CLIP = {"image_processor_type": "CLIPImageProcessor"}
DINO = {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}}
IMAGEGPT = {"size": {"height": 32, "width": 32}, "clusters": [[0.0, 0.0, 0.0]]}
WHISPER: dict[str, Any] = {"feature_extractor_type": "WhisperFeatureExtractor"}
WIDE = {"hidden_size": 1024}
SETTINGS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "vit-b16": ("ViTConfig", {}, {}),
    "deit-b16": ("DeiTConfig", {}, {}),
    "beit-b16": ("BeitConfig", {}, {}),
    "dinov2-b": ("Dinov2Config", {}, DINO),
    "dinov2-s": ("Dinov2Config", {"hidden_size": 384}, DINO),
    "dinov2-reg-b": ("Dinov2WithRegistersConfig", {}, DINO),
    "dinov3-s": ("DINOv3ViTConfig", {}, {}),
    "imagegpt-s": ("ImageGPTConfig", {}, IMAGEGPT),
    "fuyu-8b": ("FuyuConfig", {}, {}),
    "clip-b32": ("CLIPConfig", {}, CLIP),
    "clip-l14": ("CLIPConfig", {"projection_dim": 768}, CLIP),
    "siglip-b16": ("SiglipConfig", {}, {}),
    "siglip2-naflex": ("Siglip2Config", {}, {"image_processor_type": "Siglip2ImageProcessor"}),
    "clap-fused": ("ClapConfig", {}, {}),
    "ast": ("ASTConfig", {}, {}),
    "whisper-tiny": ("WhisperConfig", {"d_model": 384}, WHISPER),
    "whisper-large-v3": ("WhisperConfig", {"d_model": 1280, "num_mel_bins": 128}, WHISPER | {"feature_size": 128}),
    "w2v2-base": ("Wav2Vec2Config", {}, {}),
    "w2v2-xlsr": ("Wav2Vec2Config", WIDE, {}),
    "hubert-b": ("HubertConfig", {}, {}),
    "wavlm-l": ("WavLMConfig", WIDE, {}),
    "videomae-b": ("VideoMAEConfig", {}, {}),
    "timesformer-b": ("TimesformerConfig", {}, {"image_processor_type": "VideoMAEImageProcessor"}),
}
"""Row → class and sizes of its configuration, and its preprocessor's settings where they are not the usual ones."""


def test_every_family_has_a_row_with_a_name() -> None:
    published = {target for family, target in FAMILIES.items() if family != "percepts-head"}  # that one users train
    assert {row.target for row in CATALOG.values()} == published


@pytest.mark.parametrize("name", CATALOG)
def test_a_row_says_where_its_weights_are_and_under_what_licence(name: str) -> None:
    row = CATALOG[name]
    assert re.fullmatch(r"[\w.-]+/[\w.-]+@(main|[0-9a-f]{7}|[0-9a-f]{40})", row.weights[0])
    assert row.license and row.summary and len(row.summary) < 60
    assert name not in encoders.list_models()  # they are found all the same, and listed with --hub


@pytest.mark.parametrize("name", SETTINGS)
def test_a_row_says_what_such_a_checkpoint_says_of_itself(name: str, tmp_path: Path) -> None:
    kind, sizes, processor = SETTINGS[name]
    config = getattr(transformers, kind)(**sizes).to_dict()
    (tmp_path / "config.json").write_text(json.dumps(config, default=str))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_resize": True, **processor}))
    (tmp_path / "model.safetensors").touch()
    row = CATALOG[name]
    assert FAMILIES[config["model_type"]] == row.target
    module, _, attribute = row.target.partition(":")
    facts = getattr(import_module(f"percepts.encoders{module}"), attribute).describe(Checkpoint.open(str(tmp_path)))
    assert replace(row, **facts) == row


def test_a_row_of_a_branch_is_pinned_to_the_commit_that_is_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert encoders.model_spec("deit-b16") == CATALOG["deit-b16"]
    repository, commit = tmp_path / "models--facebook--deit-base-distilled-patch16-224", "0" * 39 + "1"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").touch()
    found = encoders.model_spec("deit-b16")
    assert found.weights == (f"facebook/deit-base-distilled-patch16-224@{commit}",)
