"""Every verb finds a model by the same names, and answers an unknown one in the same way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from percepts.encoders import model_spec
from percepts.encoders.hub.catalog import CATALOG
from percepts.encoders.resolve import find_similar
from percepts.errors import UnknownModel
from percepts.speech.loading import choose_engine
from percepts.vlm.families import ASK, CAPTION, resolve_model

COMMIT = "169d4a4341b33bc18d8881c4b69c2e104e1cc0af"
VERBS: list[Callable[[str], object]] = [model_spec, lambda name: resolve_model(name, CAPTION, ASK), choose_engine]


@pytest.fixture
def cached_whisper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of openai/whisper-tiny in the cache of huggingface_hub: settings alone, no network is built."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--openai--whisper-tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    (snapshot / "model.safetensors").touch()
    return snapshot


def test_a_short_name_means_the_same_weights_for_every_verb(cached_whisper: Path) -> None:
    assert model_spec("whisper-tiny").weights == (f"openai/whisper-tiny@{COMMIT}",)
    for name in ("whisper-tiny", "openai/whisper-tiny@" + COMMIT[:7]):
        chosen = choose_engine(name)
        assert (chosen.engine, chosen.weights) == ("transformers", f"openai/whisper-tiny@{COMMIT}")


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_name_gets_the_same_answer_from_every_verb(verb: Callable[[str], object]) -> None:
    with pytest.raises(UnknownModel, match=r"called 'fuyu'.*percepts models --hub.*Hugging Face id \(owner/name\)"):
        verb("fuyu")


@pytest.mark.parametrize(
    ("verb", "name", "meant"),
    [(VERBS[0], "clip", "clip-b32"), (VERBS[1], "fuyu", "fuyu-8b"), (VERBS[2], "tiny", "whisper-tiny")],
)
def test_a_part_of_a_short_name_suggests_it(verb: Callable[[str], object], name: str, meant: str) -> None:
    with pytest.raises(UnknownModel, match=f"Did you mean {meant}"):
        verb(name)


@pytest.mark.parametrize("verb", VERBS[1:])
def test_a_short_name_that_a_verb_cannot_use_is_refused_before_it_is_fetched(
    verb: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("percepts.weights.checkpoint._fetch_snapshot", lambda name, revision: asked.append(name))
    with pytest.raises(UnknownModel, match="no model called 'clip-b32' that can"):
        verb("clip-b32")
    assert not asked


def test_similar_names_are_found_by_a_part_and_by_spelling() -> None:
    assert find_similar("CLIP", CATALOG)[0] == "clip-b32"
    assert find_similar("consee", ["conse", "ge2e"]) == ["conse"]
    assert find_similar("zzzz", CATALOG) == []
