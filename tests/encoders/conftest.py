"""Weights for the tests of encoders: fetched once into the user's cache, skipped with the reason where that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import openl3_recipe as recipe
import pytest

from percepts.encoders import _openl3_weights, _weights, spec
from percepts.errors import WeightsError


@pytest.fixture(scope="session", autouse=True)
def random_openl3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("openl3")
    for name, what in recipe.WALKED.items():
        recipe.write(folder, _openl3_weights.NAMES[spec(name).weights[0]].stem, what, ".safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERCEPTS_OPENL3_WEIGHTS", str(folder))
        yield


@pytest.fixture(scope="session")
def have() -> Callable[[str], None]:
    """Call with an encoder's name: its weights are there when this returns, or the test is skipped."""

    def fetch(name: str) -> None:
        try:
            _weights.fetch(spec(name).weights)
        except WeightsError as error:
            pytest.skip(f"no weights: {error}")

    return fetch
