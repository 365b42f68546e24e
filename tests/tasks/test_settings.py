"""Settings and tasks say the same: what a job directory keeps makes the task again."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import make_stored_jobs as stored
import numpy as np
import pytest

from percepts.encoders import model_spec, update_spec
from percepts.errors import JobError, UnknownModel
from percepts.jobs.tasks import task_classes
from percepts.speech.fake import FakeCTC
from percepts.speech.options import TranscribeOptions
from percepts.tasks.ask import AskTask
from percepts.tasks.caption import CaptionTask
from percepts.tasks.classify import ClassifyTask
from percepts.tasks.diarize import DiarizeTask
from percepts.tasks.embed import EmbedTask
from percepts.tasks.settings import IDENTITY_FIELDS, NO_SETTING, identify_model
from percepts.tasks.transcribe import TranscribeTask
from percepts.tasks.zero_shot import ZeroShotTask
from percepts.vlm.generation import GenerationOptions

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported anywhere: no test reaches for the hub
VIT, GIT = str(stored.ROOT / stored.VIT), str(stored.ROOT / stored.GIT)
OPTIONS = TranscribeOptions(
    language="de", languages=("de", "en"), beam=1, temperatures=(0.0, 0.5), initial_prompt="Ä", word_timestamps=True,
    hallucination_silence_threshold=2.0, max_tokens=9, batch_size=16,
)  # fmt: skip
TASKS: dict[str, Callable[[], Any]] = {
    "embed": lambda: EmbedTask.create(),
    "embed, nothing as it is by default": lambda: EmbedTask.create(
        ["fake-image", "fake-audio"], fps=2.5, hop=0.25, tail="keep", exact=True, rows="source"
    ),
    "embed, a checkpoint": lambda: EmbedTask.create([VIT], precision="bfloat16"),
    "classify": lambda: ClassifyTask.create(VIT, multi_label=True, top_k=None, fps=3.0, frames="uniform", tail="drop"),
    "zero-shot": lambda: ZeroShotTask.create(["red", "blue"], model="fake-image", templates=["{}", "a {}"], top_k=1),
    "caption": lambda: CaptionTask.create(GIT, GenerationOptions(7, 2, 0.5, 1.5, 3), prefix="a", fps=2.0),
    "ask": lambda: AskTask.create(["what", "who"], GIT, GenerationOptions(9), fps=4.0),
    "transcribe": lambda: TranscribeTask.create("fake-ctc", vad=None),
    "transcribe, nothing as it is by default": lambda: TranscribeTask.create(
        "fake-ctc", options=OPTIONS, vad="energy", diarize=True, min_speakers=2, max_speakers=3
    ),
    "diarize": lambda: DiarizeTask.create(min_speakers=2, max_speakers=5, vad="energy"),
    "diarize by pyannote": lambda: DiarizeTask.create(
        min_speakers=1, max_speakers=3, backend="pyannote", model="some/pipeline"
    ),
}


@pytest.fixture(scope="module", autouse=True)
def laid_out() -> None:
    stored.lay_out()


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_made_again_from_its_settings(name: str) -> None:
    task = TASKS[name]()
    settings = task.settings()
    kept = json.loads(json.dumps(settings))
    again = type(task).from_settings(kept, task.specs)
    assert again.settings() == settings
    assert again.specs == task.specs
    assert type(task).from_settings(kept, [replace(row, target="gone:Class") for row in task.specs]).specs == task.specs
    assert pickle.loads(pickle.dumps(again)).settings() == settings
    assert settings["task"] == task.name and task_classes()[task.name] is type(task)


def test_every_task_that_runs_as_a_job_is_tried() -> None:
    assert {TASKS[name]().name for name in TASKS} == set(task_classes())


def test_no_setting_names_a_class_or_a_module() -> None:
    for name in TASKS:
        said = json.dumps(TASKS[name]().settings())
        assert "target" not in said and "percepts" not in said.replace(str(stored.ROOT), "")


def test_an_identity_holds_what_changes_a_number_and_nothing_else() -> None:
    row = model_spec("conse")
    same = replace(row, target="elsewhere:Conse", license="MIT", extra="hub", summary="other words")
    assert identify_model(same) == identify_model(row) and identify_model(row).keys() == {*IDENTITY_FIELDS, "weights"}
    for change in ({"size": 224}, {"revision": "2"}, {"pool": "max"}, {"weights": ("effnet-lite0",)}, {"dim": 3}):
        assert identify_model(replace(row, **change)) != identify_model(row)


def test_every_field_is_a_setting_unless_it_is_said_not_to_be() -> None:
    @dataclass(frozen=True)
    class Blur(EmbedTask):
        radius: float = 1.0
        speed: int = field(default=3, metadata=NO_SETTING)
        _cache: int = 0

    made = Blur((model_spec("fake-image"),), radius=2.5, speed=4)
    assert made.settings() == {**EmbedTask(made.specs).settings(), "radius": 2.5}
    assert Blur.from_settings(made.settings(), made.specs) == replace(made, speed=3)


def test_what_no_directory_keeps_is_told() -> None:
    task = TranscribeTask.create(FakeCTC())
    with pytest.raises(JobError, match="given from Python"):
        type(task).from_settings(task.settings(), task.specs)
    named = DiarizeTask.create({"Ann": np.ones(256, np.float32)})
    with pytest.raises(JobError, match="Ann"):
        type(named).from_settings(named.settings(), named.specs)


def test_the_frames_that_training_keeps_are_not_taken_for_vectors_of_the_model() -> None:
    row = model_spec(VIT)
    with pytest.raises(UnknownModel, match="percepts train"):
        update_spec(replace(row, name=row.name + "-frames", target="percepts.training.features:FramesAsVector"))


def test_a_stored_encoder_that_is_gone_is_an_error_with_its_name() -> None:
    with pytest.raises(UnknownModel, match="no encoder called 'gone'"):
        update_spec(replace(model_spec("fake-image"), name="gone"))
