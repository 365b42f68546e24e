"""OpenL3 with random weights, in the files that openl3 reads."""

from __future__ import annotations

from pathlib import Path

import openl3_recipe as recipe
import pytest


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as PERCEPTS_OPENL3_WEIGHTS names one: the three sound networks and a picture network, music."""
    folder = tmp_path_factory.mktemp("openl3")
    for what in ("linear", "mel128", "mel256"):
        recipe.write(folder, f"openl3_audio_{what}_music", what)
    recipe.write(folder, "openl3_image_mel256_music", "image")
    return folder


@pytest.fixture
def own(weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Those weights, found without being named, and nothing fetched."""
    monkeypatch.setenv("PERCEPTS_OPENL3_WEIGHTS", str(weights))
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PERCEPTS_OFFLINE", "1")
    return weights
