"""The options of a run: one dataclass, the same names as keywords of `run` and `embed`."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import pytest
from tables import Photos
from toytasks import Colours

from percepts.jobs.options import EmbedArguments, JobArguments, RunArguments, RunOptions
from percepts.jobs.run import embed, run
from percepts.tasks.embed import CutKeywords, EmbedTask


def test_every_field_is_a_keyword_and_no_keyword_is_unknown() -> None:
    names = {field.name for field in fields(RunOptions)}
    assert names - RunArguments.__annotations__.keys() == {"from_ledger"}
    assert JobArguments.__annotations__.keys() < names
    of_task = EmbedArguments.__annotations__.keys() - JobArguments.__annotations__.keys()
    of_cut = CutKeywords.__annotations__.keys()
    assert of_task == inspect.signature(EmbedTask.create).parameters.keys() - {"models", "cut"} | of_cut


def test_keywords_replace_the_options_that_are_given(photos: Photos, tmp_path: Path) -> None:
    options = RunOptions(workers=0, formats=("jsonl",), overwrite=True)
    assert run(Colours(), photos(2), tmp_path / "v", options=options).done == 2
    assert list((tmp_path / "v" / "jsonl").rglob("*.jsonl"))
    assert run(Colours(), photos(2), tmp_path / "v", options=options).done == 2  # it was overwritten
    assert run(Colours(), photos(2), tmp_path / "v", options=options, overwrite=False).unchanged == 2


def test_an_option_that_is_none_is_a_type_error_before_anything_is_made(photos: Photos, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"embed\(\) got an unexpected keyword argument 'worker'"):
        embed(photos(1), tmp_path / "v", models=["fake-image"], worker=0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'worker'"):
        run(Colours(), photos(1), tmp_path / "v", worker=0)  # type: ignore[call-arg]
    assert not (tmp_path / "v").exists()
