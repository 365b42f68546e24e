"""The options of the functions that train: a wrong name is a TypeError, a wrong value a ValueError, before any work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import percepts
from percepts.training.adapter import AdapterKeywords, AdapterOptions, train_adapter
from percepts.training.ast import AstKeywords, AstOptions, train_ast
from percepts.training.heads import HeadKeywords, HeadOptions, train_head
from percepts.training.loop import FitKeywords, FitOptions, fit
from percepts.training.plan import Plan


def call_fit(folder: Path, **how: Any) -> None:
    model = torch.nn.Linear(1, 1)
    fit(model, lambda batch, rng: model(torch.ones(1, 1)).mean(), 2, Plan(steps=1), folder / "run", settings={}, **how)


def call_adapter(folder: Path, **how: Any) -> None:
    train_adapter(folder / "t.csv", folder / "a", encoder="melstats", lm="none/none", prompt="<audio>", **how)


CALLS: dict[str, Callable[..., Any]] = {
    "fit": call_fit,
    "adapter": call_adapter,
    "ast": lambda folder, **how: train_ast(folder / "t.csv", folder / "o", base="none/none", **how),
    "head": lambda folder, **how: train_head(folder / "v", folder / "t.csv", folder / "h", **how),
    "datasets": lambda folder, **how: percepts.datasets_transform("fake-image", **how),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("option", ["epoch", "rows", "specs"])
def test_an_unknown_option_is_a_type_error(name: str, option: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
        CALLS[name](tmp_path, **{option: 1})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("fit", {"draw": np.array([1.0, -1.0])}, "draw as .count,. weights"),
        ("fit", {"draw": np.array([1.0, np.nan])}, "draw as .count,. weights"),
        ("fit", {"draw": np.ones((2, 1))}, "draw as .count,. weights"),
        ("adapter", {"held_out": 1.0}, "held_out from 0 to 1, got 1.0"),
        ("ast", {"held_out": -0.1}, "held_out from 0 to 1, got -0.1"),
        ("ast", {"lora": -1}, "0 or more, got -1"),
        ("ast", {"norm": "mean"}, "exact or authors, got 'mean'"),
        ("head", {"task": "many"}, "single or multi, got 'linear' and 'many'"),
        ("head", {"groups": "a", "split": "b"}, "groups or split, not both"),
    ],
)
def test_a_wrong_value_is_refused_before_any_file_is_read(
    name: str, wrong: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        CALLS[name](tmp_path, **wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "keywords"),
    [
        (AdapterOptions, AdapterKeywords),
        (AstOptions, AstKeywords),
        (FitOptions, FitKeywords),
        (HeadOptions, HeadKeywords),
    ],
)
def test_the_keywords_are_the_fields_of_the_options(options: Any, keywords: Any) -> None:
    assert [field.name for field in fields(options)] == list(keywords.__annotations__)
    assert {field.name: field.type for field in fields(options)} == {
        name: hint.__forward_arg__ for name, hint in keywords.__annotations__.items()
    }
