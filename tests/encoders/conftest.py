"""Tiny checkpoints, each made once a session."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported anywhere: these tests need no network


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
