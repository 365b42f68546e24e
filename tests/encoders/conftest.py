"""Weights for the tests of encoders: fetched once into the user's cache, skipped with the reason where that fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from percepts.encoders import _weights, spec
from percepts.errors import WeightsError


@pytest.fixture(scope="session")
def have() -> Callable[[str], None]:
    """Call with an encoder's name: its weights are there when this returns, or the test is skipped."""

    def fetch(name: str) -> None:
        try:
            _weights.fetch(spec(name).weights)
        except WeightsError as error:
            pytest.skip(f"no weights: {error}")

    return fetch
