"""The demo: its media are what the README beside them says, its answers are right, its page needs no other file."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from percepts.cli import app
from percepts.cli.demo import contact_sheet, run
from percepts.cli.demo.run import DATA, FILM, RECORDING, Answer, Demo
from percepts.errors import MissingExtra
from percepts.jobs.progress import Report
from percepts.media import open_audio, stream_frames
from percepts.support.outputs import OutputFolder
from percepts.tasks.search import Hit
from percepts.types import Record


@pytest.mark.parametrize(("name", "most"), [(RECORDING, 250_000), (FILM, 600_000)])
def test_media_are_those_of_the_readme_and_small(name, most):
    content = (DATA / name).read_bytes()
    assert len(content) <= most
    assert hashlib.sha256(content).hexdigest() in (DATA / "README.md").read_text()


def test_the_film_has_sound_and_the_recording_speaks():
    assert [clip.start for clip in stream_frames(DATA / FILM, fps=1.0)] == list(range(12))
    assert open_audio(DATA / FILM).duration == pytest.approx(12, abs=0.1)  # AAC comes in blocks of 32 ms
    recording = open_audio(DATA / RECORDING)
    assert recording.rate == 16_000 and 10 < recording.duration < 16
    assert np.abs(recording.data).max() > 0.1


def test_gather_brings_every_picture_that_is_asked_for(tmp_path):
    names = {path.name for path in run.copy_demo_media(OutputFolder(tmp_path))}
    assert {RECORDING, FILM} < names
    for question in run.QUESTIONS:
        assert question.pictures < names
    assert len(names) > 25


def test_without_the_pictures_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "find_spec", lambda package: None)
    with pytest.raises(MissingExtra, match=re.escape("pip install 'percepts[demo]'")):
        run.copy_demo_media(OutputFolder(tmp_path))


def test_the_demo_answers_everything_right(percepts, tmp_path):
    done = percepts("demo", "-o", "out", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    answers = json.loads(done.stdout)
    assert answers["right"]
    assert [len(answers[part]) for part in ("pictures", "moments", "sounds")] == [6, 3, 2]
    assert (tmp_path / "out" / "contact-sheet.png").exists()


def hit(source: Path, score: float, kind="image", start=0.0, stop=0.0) -> Hit:
    return Hit(Record(str(source), start, stop, "conse", kind), score)


@pytest.fixture
def played(tmp_path) -> Demo:
    """A demo that nobody ran: a picture whose name is HTML, the film, and an answer that is wrong."""
    media = tmp_path / "media"
    media.mkdir()
    (media / FILM).write_bytes((DATA / FILM).read_bytes())
    picture = media / "<b>&.png"
    Image.new("RGB", (40, 30), (10, 200, 10)).save(picture)
    report = Report(tmp_path, str(tmp_path), 2, 0, 0, 0, 0, 13, 1.0, 0.5, 0.5, False, ())
    frames = tuple(hit(media / FILM, 0.1 * i, "video", float(i), i + 1.0) for i in reversed(range(12)))
    return Demo(
        media,
        report,
        pictures=(Answer("a <green> field", (hit(picture, 0.9), hit(picture, 0.2)), False),),
        moments=(Answer("a cat", frames, True),),
        sounds=(Answer("4 to 8 s", (hit(media / FILM, 0.9, "audio", 4.0, 8.0),), True),),
    )


def test_the_page_needs_no_other_file_and_names_are_text(played, tmp_path):
    html, _ = contact_sheet.write_contact_sheet(played, OutputFolder(tmp_path))
    page = html.read_text(encoding="utf-8")
    assert not re.search(r"https?:|<script|<link|url\(", page)
    assert all(source.startswith("data:image/jpeg;base64,") for source in re.findall(r'src="([^"]*)"', page))
    assert "a &lt;green&gt; field" in page and "&lt;b&gt;&amp;.png" in page
    assert "<b>&" not in page


def test_both_pages_mark_right_and_wrong(played, tmp_path):
    html, png = contact_sheet.write_contact_sheet(played, OutputFolder(tmp_path))
    page = html.read_text(encoding="utf-8")
    assert 'figure class="first wrong"' in page and 'score first right"' in page
    assert "2 of 3 right" in page
    with Image.open(png) as image:
        colours = {colour for _, colour in image.getcolors(1 << 24)}
        width = image.width
    assert width == contact_sheet.PAGE
    wanted = {tuple(bytes.fromhex(colour[1:])) for colour in (contact_sheet.RIGHT, contact_sheet.WRONG)}
    assert wanted <= colours


def test_moments_stand_in_the_order_of_the_film(played):
    (row,) = contact_sheet.build_sheet(played).moments
    assert [cell.score for cell in row.cells] == sorted(cell.score for cell in row.cells)
    assert [cell.first for cell in row.cells] == [False] * 11 + [True]


def test_a_wrong_answer_ends_with_1_and_the_table_says_which(played, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "run_demo", lambda output, overwrite, on_progress: played)
    done = CliRunner().invoke(app, ["demo", "-o", str(tmp_path)])
    assert done.exit_code == 1
    assert re.search(r"a <green> field +WRONG", done.stdout)
    assert "an answer is wrong" in done.stderr
