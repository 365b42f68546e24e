from __future__ import annotations

from pathlib import Path

import faulty
import numpy as np
import pytest
from PIL import Image
from tables import Photos

from percepts.encoders import register_encoder


@pytest.fixture(scope="module", autouse=True)
def faulty_encoders(encoders_as_they_were: None) -> None:
    for name in faulty.NAMES:
        register_encoder(faulty.spec(name))


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    """make(count, red=(3,)): a folder of small pictures of random colour, those with these numbers pure red."""

    def make(count: int, red: tuple[int, ...] = ()) -> Path:
        folder = tmp_path / "photos"
        folder.mkdir(exist_ok=True)
        rng = np.random.default_rng(count)
        for i in range(count):
            colour = (255, 0, 0) if i in red else tuple(int(c) for c in rng.integers(0, 200, 3))
            Image.new("RGB", (20, 16), colour).save(folder / f"{i:04d}.png")
        return folder

    return make
