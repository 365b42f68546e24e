"""The examples in the docstrings do what they say."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

MODULES = """
describe moved registry resolve builtin.conse builtin.ge2e hub.fuyu hub.int8_check hub.siglip
""".split()  # noqa: SIM905  # a list of names reads better as one


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str) -> None:
    found = doctest.testmod(import_module(f"percepts.encoders.{module}"))
    assert found.attempted
    assert not found.failed
