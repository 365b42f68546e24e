"""The options of generation: one list of them, wherever they are given."""

from __future__ import annotations

from dataclasses import fields

import pytest

from percepts.cli.generation_options import GenerationFlags
from percepts.vlm.generation import GenerationKeywords, GenerationOptions


def test_keywords_and_flags_are_the_fields_of_the_options() -> None:
    names = {field.name: str(field.type) for field in fields(GenerationOptions)}
    keywords = GenerationKeywords.__annotations__
    assert {name: getattr(hint, "__forward_arg__", hint) for name, hint in keywords.items()} == names
    assert ["max_new_tokens", *(field.name for field in fields(GenerationFlags))] == list(names)


def test_flags_become_options_and_defaults_stay() -> None:
    assert GenerationFlags().build(7) == GenerationOptions(max_new_tokens=7)
    flags = GenerationFlags(num_beams=3, length_penalty=-1.0, repetition_penalty=1.5, no_repeat_ngram_size=2)
    assert flags.build(9) == GenerationOptions(9, 3, -1.0, 1.5, 2)
    with pytest.raises(ValueError, match="num_beams of at least 1"):
        GenerationFlags(num_beams=0).build(9)
