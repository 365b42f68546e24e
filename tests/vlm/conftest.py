"""Tiny checkpoints of models that write, made once a session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported anywhere: no test reaches for the hub


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Torch with one thread: these networks are so small that a second one only waits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def writer(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a tiny checkpoint by its name in tiny_writers.py."""
    import tiny_writers

    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = getattr(tiny_writers, name)(tmp_path_factory.mktemp("writers") / name)
        return made[name]

    return make
