"""A task says its name, its tables and what it does with a source; everything else has a default."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile
import synth
from PIL import Image
from show import show

from percepts.errors import NotMedia, WrongMedium
from percepts.jobs.run import run
from percepts.media import Probe, Source, open_image
from percepts.stores.parquet import batch_records, read_parts
from percepts.tasks.base import BatchedTask, PerSourceTask, PreparedBatch, Task
from percepts.types import Record, Spec


@dataclass(frozen=True)
class Sizes(PerSourceTask):
    """The smallest task there is: the size of each image, as text."""

    unit: str = "pixels"
    name = "sizes"
    specs = (Spec(name="toy-sizes", kind="image", license="Apache-2.0"),)

    def explain_empty(self, medium: Probe) -> str:
        return f"is {medium.kind}; {self.name} takes images"

    def process_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[Record]:
        if medium.kind == "image":
            height, width = open_image(source).data.shape[1:3]
            yield Record("", 0.0, 0.0, "toy-sizes", "image", text=f"{width} x {height} {self.unit}")


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    soundfile.write(folder / "b.wav", synth.noise(8000, 1.0)[0], 8000)
    (folder / "c.jpg").write_bytes(b"no image")
    return folder


def test_a_new_task_has_the_one_file_case_and_the_job_for_free(media: Path, tmp_path: Path) -> None:
    (record,) = Sizes().run_one(media / "a.png")
    assert (record.text, record.source) == ("40 x 30 pixels", str(media / "a.png"))
    with pytest.raises(WrongMedium, match=r"b\.wav is audio; sizes takes images"):
        Sizes().run_one(media / "b.wav")
    with pytest.raises(WrongMedium, match=r"bytes in memory> is audio"):
        Sizes().run_one((media / "b.wav").read_bytes())
    with pytest.raises(NotMedia):
        Sizes().run_one(media / "c.jpg")
    report = run(Sizes(), media, tmp_path / "out", workers=0)
    assert (report.done, report.skipped, report.failed) == (1, 1, 1)
    stored = [row for batch in read_parts(tmp_path / "out", "toy-sizes") for row in batch_records(batch, "toy-sizes")]
    assert show(stored) == show([record])


def test_a_new_task_can_be_stored_and_made_again_without_a_line_for_it() -> None:
    task = Sizes("dots")
    assert task.settings() == {"task": "sizes", "unit": "dots"}
    assert Sizes.from_settings(task.settings(), task.specs) == task == pickle.loads(pickle.dumps(task))
    assert task.with_runtimes({"toy-sizes": "onnx"}) == task
    assert (task.runtimes_used(), task.graphs_used(), dict(task.rehearsals()), task.reducer()) == ({}, {}, {}, None)
    task.validate()


@pytest.mark.parametrize("kind", [Task, BatchedTask, PerSourceTask])
def test_a_task_without_what_it_does_cannot_be_made(kind: type[Task]) -> None:
    class Nothing(kind):  # type: ignore[misc, valid-type]
        name = "nothing"

    with pytest.raises(TypeError, match="abstract"):
        Nothing()


def test_a_task_for_which_nothing_is_a_result_returns_nothing(media: Path) -> None:
    class Quiet(Sizes):
        def explain_empty(self, medium: Probe) -> str:
            return ""

    assert Quiet().run_one(media / "b.wav") == []


def test_the_size_of_a_prepared_batch_is_that_of_its_arrays() -> None:
    assert PreparedBatch("m", "image", ((0.0, 0.0),), {}).nbytes == 0
