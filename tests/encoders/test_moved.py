from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import pytest

from percepts.encoders import load_encoder, model_spec
from percepts.encoders.moved import MOVED, current_target


@pytest.mark.parametrize("old", MOVED)
def test_what_a_stored_target_named_is_where_the_table_says(old: str) -> None:
    assert import_module(MOVED[old], "percepts.encoders")


@pytest.mark.parametrize("target", [".fake:FakeImage", "percepts.encoders.fake:FakeImage"])
def test_an_encoder_loads_by_the_path_that_an_old_manifest_holds(target: str) -> None:
    today = load_encoder("fake-image")
    assert type(load_encoder(replace(model_spec("fake-image"), target=target))) is type(today)


def test_a_path_of_today_stays() -> None:
    assert current_target(model_spec("fake-image").target) == model_spec("fake-image").target
