from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import percepts.preprocess
import percepts.windows

MODULES = [
    module.name
    for package in (percepts.windows, percepts.preprocess)
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + ".")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_are_true(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0
