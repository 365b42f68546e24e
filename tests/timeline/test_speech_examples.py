"""Run the examples in the docstrings of speech, its timeline and its decoders."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

MODULES = (
    "speech.streaming.local_agreement",
    "timeline.assign_speakers",
    "support.hungarian",
    "metrics.der",
    "timeline.speakers",
    "timeline.subtitles",
    "windows.speech",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    result = doctest.testmod(import_module(f"percepts.{name}"))
    assert result.attempted and not result.failed
