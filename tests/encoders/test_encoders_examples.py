"""The examples in the docstrings do what they say."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("module", ["registry", "builtin.conse", "builtin.ge2e"])
def test_examples(module: str) -> None:
    found = doctest.testmod(import_module(f"percepts.encoders.{module}"))
    assert found.attempted
    assert not found.failed
