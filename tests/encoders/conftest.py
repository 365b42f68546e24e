"""Weights for the tests of encoders: real ones fetched once, tiny random checkpoints made once a session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import openl3_recipe as recipe
import pytest
from need_weights import need_weights

from percepts.encoders import model_spec
from percepts.weights import openl3

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported anywhere: no test reaches for the hub


@pytest.fixture(scope="session", autouse=True)
def random_openl3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("openl3")
    for name, what in recipe.WALKED.items():
        recipe.write(folder, openl3.MODELS_BY_NAME[model_spec(name).weights[0]].stem, what, ".safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERCEPTS_OPENL3_WEIGHTS", str(folder))
        yield


@pytest.fixture(scope="session")
def have() -> Callable[[str], None]:
    """Call with an encoder's name: its weights are there when this returns; see need_weights."""

    def fetch(name: str) -> None:
        need_weights(*model_spec(name).weights)

    return fetch


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Give the folder of a tiny checkpoint by its name in tiny.py; equal arguments give the same folder."""
    import tiny

    made: dict[object, Path] = {}

    def make(name: str, *arguments: object) -> Path:
        key = (name, *arguments)
        if key not in made:
            folder = tmp_path_factory.mktemp("checkpoints") / name
            made[key] = getattr(tiny, name)(folder, *arguments)
        return made[key]

    return make
