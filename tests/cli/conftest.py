"""The command line as users meet it: a process of its own, in an empty folder."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from PIL import Image


@pytest.fixture
def percepts(tmp_path):
    """`percepts("search", "vectors", "red")` runs the real command in `tmp_path`; stdout and stderr as text."""
    return command_in(tmp_path)


def command_in(folder):
    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "percepts.cli", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "PYTHONUTF8": "1", **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
        )

    return run


@pytest.fixture
def photos(tmp_path):
    """A folder of three plain pictures, one of them with a name that no terminal should obey, and a recording."""
    return make_photos(tmp_path / "photos")


def make_photos(folder):
    folder.mkdir()
    for name, colour in {"red.png": (255, 0, 0), "blue.png": (0, 0, 255), "green\x1b[31m.png": (0, 255, 0)}.items():
        Image.new("RGB", (32, 24), colour).save(folder / name)
    rate = 8000
    sound = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)
    soundfile.write(folder / "tone.wav", sound, rate)
    return folder


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A folder with `photos` and their `vectors`, and the command to run in it; made once for a file of tests."""
    folder = tmp_path_factory.mktemp("library")
    photos = make_photos(folder / "photos")
    late = np.concatenate([np.zeros(8000), np.linspace(0, 0.9, 8000) * np.sin(np.arange(8000))])
    soundfile.write(photos / "late.wav", late, 8000)
    soundfile.write(folder / "query.wav", late[8000:], 8000)
    percepts = command_in(folder)
    done = percepts("embed", "photos", "-o", "vectors", "-m", "fake-image", "-m", "fake-audio")
    assert done.returncode == 0, done.stderr
    return folder, percepts
