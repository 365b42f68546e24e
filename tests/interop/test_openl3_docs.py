"""The examples of docs/openl3.md are run, on random weights: they need more than the examples of the other pages do."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import openl3_recipe as recipe
import pytest
import soundfile
import synth
from PIL import Image
from typer.testing import CliRunner

from percepts.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "openl3.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]
CODE = re.findall(r"^```py\n(.*?)^```", PAGE, re.M | re.S)

pytestmark = pytest.mark.filterwarnings("ignore::percepts.interop.openl3.OpenL3Warning")


@pytest.fixture
def here(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("dog.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 30_000), 48_000)
    Image.new("RGB", (300, 260), (200, 90, 10)).save("cat.png")
    synth.write_film(Path("film.mp4"), 3, size=(320, 240), sound=synth.noise(48_000, 0.3))
    recipe.write(tmp_path, "openl3_audio_mel256_music", "mel256", "-v0_4_0.h5.gz")
    return tmp_path


def test_the_page_has_examples() -> None:
    assert len(COMMANDS) == 7
    assert len(CODE) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_command_runs(command: str, here: Path) -> None:
    name, *words = shlex.split(command)
    assert name == "percepts"
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, (result.output, result.exception)


@pytest.mark.parametrize("code", CODE)
def test_python_runs(code: str, here: Path) -> None:
    names = {"audio": np.random.default_rng(1).uniform(-1, 1, 20_000), "sr": 16_000}
    exec(code, names)
    assert names["embedding"].shape == (len(names["timestamps"]), 6144)
    shutil.rmtree(here / "out")
