"""Captions and answers are records with times: of one file, of a folder, in files and tables, and after a bad file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synth
import tiny_writers  # the tests of decoders have the checkpoints
from PIL import Image, ImageDraw, ImageFont

import percepts
from percepts.errors import MediaError, QuestionError, WrongMedium
from percepts.jobs.run import run
from percepts.stores import jsonl, parquet
from percepts.tasks.ask import AskTask, pick_evenly
from percepts.tasks.caption import CaptionTask
from percepts.types import Clip, Record
from percepts.vlm.generation import GenerationOptions


def read_records(directory: Path) -> list[Record]:
    return [
        record
        for model in parquet.read_specs(directory)
        for batch in parquet.read_parts(directory, model)
        for record in parquet.batch_records(batch, model)
    ]


SHORT: dict[str, Any] = {"max_new_tokens": 4, "num_beams": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("writers")


@pytest.fixture(scope="module")
def git(folder: Path) -> str:
    return str(tiny_writers.git(folder / "git"))


@pytest.fixture(scope="module")
def chat(folder: Path) -> str:
    return str(tiny_writers.qwen2_vl(folder / "qwen2_vl"))


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("media")
    for seed in range(3):
        synth.picture(64, 48, seed).save(root / f"{seed}.png")
    synth.write_film(root / "film.mp4", 30, rate=10)
    synth.write_sound(root / "talk.wav", synth.tone(16000, 0.5), 16000, "pcm_s16le")
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    return root


def test_a_picture_has_one_caption_and_a_film_one_a_frame(git: str, media: Path) -> None:
    (record,) = percepts.caption(media / "0.png", model=git, prefix="a photo of", **SHORT)
    assert (record.start, record.stop, record.kind, record.source) == (0.0, 0.0, "image", str(media / "0.png"))
    assert record.text is not None and record.text.startswith("a photo of") and 0 < (record.score or 0) < 1
    film = percepts.caption(media / "film.mp4", model=git, fps=2.0, **SHORT)
    assert [(r.start, r.stop) for r in film] == [(k / 2, k / 2 + 0.5) for k in range(6)]
    assert {r.kind for r in film} == {"video"} and all(r.text for r in film)


def test_a_folder_is_a_job_that_survives_its_bad_files(git: str, media: Path, tmp_path: Path) -> None:
    options = GenerationOptions(**SHORT)
    task = CaptionTask.create(git, options, prefix="a photo of")
    report = run(task, media, tmp_path / "out", formats=["parquet", "jsonl", "srt"], workers=1)
    assert (report.failed, report.skipped, report.rows) == (1, 1, 3 + 3)
    assert [entry.uri.endswith("broken.jpg") for entry in report.failures] == [True]
    found = {(r.source.rsplit("/", 1)[1], r.start): r.text for r in read_records(tmp_path / "out")}
    alone = {
        (name, r.start): r.text
        for name in ("0.png", "1.png", "2.png", "film.mp4")
        for r in percepts.caption(media / name, model=git, prefix="a photo of", **SHORT)
    }
    assert found == alone
    subtitles = next((tmp_path / "out").rglob("*film*.srt")).read_text()
    assert "00:00:01,000 --> 00:00:02,000\na photo of" in subtitles
    again = run(task, media, tmp_path / "out", workers=1)
    assert (again.done, again.unchanged) == (0, 6)


def test_answers_come_in_the_order_of_time_and_of_questions(git: str, media: Path, tmp_path: Path) -> None:
    questions = ["how many cat", "what is on the table"]
    found = percepts.ask(media / "film.mp4", questions, model=git, fps=1.0, **SHORT)
    assert sorted((a.start, a.question) for a in found) == sorted((float(k), q) for k in range(3) for q in questions)
    task = AskTask.create(questions, git, GenerationOptions(**SHORT), fps=1.0)
    run(task, [media / "film.mp4", media / "0.png"], tmp_path / "out", workers=0)
    rows = read_records(tmp_path / "out")
    assert len(rows) == 2 * (3 + 1)
    of_film = {(r.start, r.labels[0]): r.text for r in rows if r.kind == "video"}
    assert of_film == {(a.start, a.question): a.text for a in found}


def test_a_chat_model_looks_at_a_film_as_a_whole(chat: str, media: Path) -> None:
    (answer,) = percepts.ask(media / "film.mp4", "what is on the table", model=chat, frames=3, **SHORT)
    assert (answer.start, answer.stop, answer.kind) == (0.0, 3.0, "video")
    each = percepts.ask(media / "film.mp4", "what is on the table", model=chat, fps=1.0, **SHORT)
    assert [a.start for a in each] == [0.0, 1.0, 2.0]
    with pytest.raises(QuestionError, match="both"):
        percepts.ask(media / "film.mp4", "what", model=chat, fps=1.0, frames=3)


def test_frames_are_spread_over_any_length_in_little_memory() -> None:
    frame = np.zeros((1, 2, 2, 3), np.uint8)
    for length in (1, 3, 8, 9, 100, 1001):
        film = (Clip(frame, "video", 1.0, float(k)) for k in range(length))
        found = [clip.start for clip in pick_evenly(film, 8)]
        assert len(found) == min(8, length) and found[0] == 0.0 and found == sorted(found)
        assert length - 1 - found[-1] <= length / 8 and max(np.diff([*found, length])) <= length / 4 + 1


def test_a_page_is_read_and_its_answer_has_a_box(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    model = str(tiny_writers.layoutlm(folder / "layoutlm"))
    page = Image.new("RGB", (500, 160), "white")
    ImageDraw.Draw(page).text((40, 30), "cat piano rain", fill="black", font=ImageFont.load_default(28))
    page.save(tmp_path / "page.png")
    (read,) = percepts.ask(tmp_path / "page.png", "how many", model=model)
    assert set(read.text.split()) <= {"cat", "piano", "rain"} and read.box is not None and read.box[3] < 160
    run(
        AskTask.create("how many", model),
        [tmp_path / "page.png"],
        tmp_path / "out",
        formats=["parquet", "jsonl"],
        workers=0,
    )
    (kept,) = read_records(tmp_path / "out")
    assert (kept.text, kept.box) == (read.text, read.box)
    (lines,) = (path for path in (tmp_path / "out").rglob("*.jsonl") if path.name != "formats.jsonl")
    assert next(iter(jsonl.read_records(lines))).box == read.box
    words = [("cat", (40, 30, 90, 60)), {"text": "dog", "box": [100, 30, 160, 60]}]
    (given,) = percepts.ask(tmp_path / "page.png", "how many", model=model, words=words)
    assert given.box in {(40, 30, 90, 60), (100, 30, 160, 60), (40, 30, 160, 60)}


def test_a_table_is_asked_in_the_same_words(folder: Path, tmp_path: Path) -> None:
    model = str(tiny_writers.tapas(folder / "tapas"))
    frame = pd.DataFrame({"team": ["A", "B"], "games": [10, 36]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    (of_file,) = percepts.ask(tmp_path / "t.csv", "how many games?", model=model)
    one = percepts.ask_table(frame, "how many games?", model=model)
    assert isinstance(of_file, percepts.TableAnswer) and of_file.cells == one.cells and of_file.text == one.text
    with pytest.raises(QuestionError, match="a table has no fps"):
        percepts.ask(frame, "how many games?", model=model, fps=1.0)


def test_what_cannot_be_is_named(git: str, chat: str, media: Path) -> None:
    with pytest.raises(WrongMedium, match=r"is audio.*captions are of images and videos"):
        percepts.caption(media / "talk.wav", model=git)
    with pytest.raises(WrongMedium, match="is audio"):
        percepts.ask(media / "talk.wav", "what", model=git)
    with pytest.raises(MediaError, match=r"broken.jpg"):
        percepts.caption(media / "broken.jpg", model=git)
    for none in ("", [], ["what", " "]):
        with pytest.raises(QuestionError, match="at least one question"):
            percepts.ask(media / "0.png", none, model=git)
    with pytest.raises(QuestionError, match="takes no words"):
        percepts.ask(media / "0.png", "what", model=git, words=[("a", (0, 0, 1, 1))])
    with pytest.raises(QuestionError, match="a chat model"):
        percepts.ask(media / "film.mp4", "what", model=git, frames=4)
    with pytest.raises(TypeError, match="banana"):
        percepts.caption(media / "0.png", model=git, banana=1)  # type: ignore[call-arg]


def test_the_command_line_prints_one_file_and_writes_many(
    git: str, media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from percepts.cli import app

    def command(*words: object) -> str:
        app([str(word) for word in words], standalone_mode=False)
        return capsys.readouterr().out

    few = ("--model", git, "--max-new-tokens", 4)
    assert command("caption", media / "0.png", *few, "--prefix", "a photo of").startswith("a photo of")
    film = command("caption", media / "film.mp4", *few).splitlines()
    assert [line.split()[0] for line in film] == ["0:00:00.0", "0:00:01.0", "0:00:02.0"]
    (told,) = json.loads(command("ask", media / "0.png", "how many cat", *few, "--json"))
    assert told["question"] == "how many cat" and told["box"] is None
    assert "1 file asked: 2 new answers" in command(
        "ask", media / "0.png", "how many", "what", *few, "-o", tmp_path / "o"
    )
