"""Ask for the real weights that a test runs on."""

from __future__ import annotations

import os

import pytest

from percepts import weights
from percepts.errors import WeightsError


def need_weights(*names: str) -> None:
    """Fetch weights. Skip the test where they cannot be had; fail it if PERCEPTS_REQUIRE_WEIGHTS=1, as in CI."""
    try:
        weights.fetch_weights(names)
    except WeightsError as error:
        if os.environ.get("PERCEPTS_REQUIRE_WEIGHTS", "0") not in ("", "0"):
            pytest.fail(f"no weights, and PERCEPTS_REQUIRE_WEIGHTS is set: {error}", pytrace=False)
        pytest.skip(f"no weights: {error}")
