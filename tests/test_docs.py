"""Every example of the README and of the docs is run, as a newcomer would run it: nothing else may be told there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image

from percepts.encoders.registry import _BUILTIN as ROWS
from percepts.weights import download_size

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OTHER_TOOLS = ("make", "pip", "git", "cd", "#")
"""Commands in shell examples that are not ours; CI runs the first, `make` rebuilds the environment with the second."""


def read_examples(language: str) -> dict[str, str]:
    """Return the code of each example of a language, by the page and the number of its block there."""
    return {
        f"{page.relative_to(ROOT)}-{number}": match[2]
        for page in PAGES
        for number, match in enumerate(BLOCK.finditer(page.read_text("utf-8")))
        if match[1] == language
    }


def blocks(language: str) -> list[object]:
    return [pytest.param(code, id=name) for name, code in read_examples(language).items()]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples speak of, and a job over it."""
    folder = tmp_path_factory.mktemp("examples")
    demo = Path(str(files("percepts") / "data" / "demo"))
    shutil.copy(demo / "recording.flac", folder / "talk.flac")
    shutil.copy(demo / "recording.flac", folder / "clap.wav")  # what a file is called does not matter
    shutil.copy(demo / "film.mp4", folder / "film.mp4")
    for place, colour in (("photos/a.jpg", "red"), ("photos/b.jpg", "blue"), ("more/c.jpg", "green")):
        (folder / place).parent.mkdir(exist_ok=True)
        Image.new("RGB", (320, 240), colour).save(folder / place)
    shutil.copy(folder / "photos/a.jpg", folder / "photo.jpg")
    shutil.copy(folder / "photos/a.jpg", folder / "cat.jpg")
    (folder / "labels.txt").write_text("a cat\na cup of coffee\n")
    return folder


@pytest.fixture
def here(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy with a finished job in vectors/, as the working directory."""
    shutil.copytree(media, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def percepts(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "percepts.cli", *words], capture_output=True, text=True)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_example_runs(code: str, here: Path) -> None:
    percepts("embed", "photos/", "talk.flac", "film.mp4", "-o", "vectors/")
    done = subprocess.run([sys.executable, "-c", f"import percepts\n{code}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", blocks("sh"))
def test_shell_example_runs(code: str, here: Path) -> None:
    lines = [line.split("  #")[0].strip() for line in code.splitlines()]
    ours = [shlex.split(line)[1:] for line in lines if line.startswith("percepts ")]
    assert all(line.startswith(("percepts ", *OTHER_TOOLS)) for line in lines if line)
    if ours and ours[0][0] != "embed":  # it speaks of a directory that is there already
        assert percepts("embed", "photos/", "talk.flac", "film.mp4", "-o", "vectors/").returncode == 0
    for words in ours:
        done = percepts(*words)
        assert done.returncode == 0, f"percepts {shlex.join(words)}\n{done.stdout}\n{done.stderr}"


def test_the_table_of_encoders_is_the_registry() -> None:
    rows = re.findall(r"^\| (`.*?) \| .*? \| (\d+) \| (\S+) \| (\S+)", (ROOT / "README.md").read_text("utf-8"), re.M)
    told = {name: row for row in rows for name in re.findall(r"`(.+?)`", row[0])}
    for spec in ROWS:
        meant = max((name for name in told if fnmatch(spec.name, name)), key=len, default=None)
        assert meant, f"{spec.name} is not in the table"
        _, dim, licence, megabytes = told[meant]
        assert (int(dim), licence) == (spec.dim, spec.license), spec.name
        assert megabytes == (f"{sum(map(download_size, spec.weights)) / 1e6:.0f}" if spec.weights else "none")
    assert all(any(fnmatch(spec.name, name) for spec in ROWS) for name in told)
