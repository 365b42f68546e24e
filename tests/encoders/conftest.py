"""Weights for the tests of encoders: real ones fetched once or skipped, tiny random checkpoints made once a session."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from percepts.encoders import _weights, spec
from percepts.errors import WeightsError

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported anywhere: no test reaches for the hub


@pytest.fixture(scope="session")
def have() -> Callable[[str], None]:
    """Call with an encoder's name: its weights are there when this returns, or the test is skipped."""

    def fetch(name: str) -> None:
        try:
            _weights.fetch(spec(name).weights)
        except WeightsError as error:
            pytest.skip(f"no weights: {error}")

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
