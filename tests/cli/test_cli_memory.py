"""Limits of memory: a command that decodes files in its own process has one, a program that calls percepts has none."""

from __future__ import annotations

import subprocess
import sys

import pytest
from PIL import Image

from percepts.cli.memory import LEAST_BYTES, command_memory, limit_memory, with_memory_limit
from percepts.support.machine import machine_memory

resource = pytest.importorskip("resource")


@pytest.fixture
def large(tmp_path):
    """A file of 75 kB that decodes to 25 million pixels."""
    Image.new("RGB", (5000, 5000), (200, 30, 30)).save(tmp_path / "large.png")


def test_an_image_that_the_limit_cannot_hold_is_refused_before_it_is_decoded(percepts, tmp_path, large):
    arguments = ("tokens", "large.png", "-m", "fake-image", "-o", "out.npz")
    refused = percepts(*arguments, PERCEPTS_MEMORY="800M")
    assert refused.returncode == 1 and "25000000 pixels, more than the 2" in refused.stderr, refused.stderr
    assert not (tmp_path / "out.npz").exists()
    assert percepts(*arguments, PERCEPTS_MEMORY="0").returncode == 0


def test_a_job_without_workers_has_the_limit_and_blames_one_file(percepts, large, photos):
    done = percepts(
        "embed", "large.png", photos, "-o", "vectors", "-m", "fake-image", "--workers", "0", PERCEPTS_MEMORY="800M"
    )
    assert done.returncode == 3, done.stderr
    assert "3 files embedded" in done.stdout and "large.png  [decode]" in done.stdout


def test_memory_that_runs_out_is_one_plain_sentence(percepts, large):
    done = percepts("tokens", "large.png", "-m", "fake-image", "-o", "out.npz", PERCEPTS_MEMORY="20M")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "memory ran out" in done.stderr and "PERCEPTS_MEMORY=16G" in done.stderr


@pytest.mark.parametrize("value", ["lots", "-1", "6T", "1e400", "nan"])
def test_a_limit_that_is_no_number_of_bytes_is_refused(percepts, large, value):
    done = percepts("tokens", "large.png", "-m", "fake-image", "-o", "out.npz", PERCEPTS_MEMORY=value)
    assert done.returncode == 2 and "expected bytes, such as 6G" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("options", "limited"),
    [
        ({"inputs": ["a.jpg"], "output": None, "workers": None}, True),  # one file, printed
        ({"inputs": ["a.jpg"], "output": "out", "workers": 0}, True),
        ({"inputs": ["a.jpg"], "output": "out", "workers": None}, False),  # the workers have limits of their own
        ({"inputs": ["a.jpg"], "output": "out", "workers": 2}, False),
        ({"source": "a.jpg", "output": "out.npz"}, True),  # a command that has no workers
    ],
)
def test_the_limit_holds_where_files_are_decoded_in_this_process(options, limited, monkeypatch):
    monkeypatch.setenv("PERCEPTS_MEMORY", "32G")
    seen = []
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with_memory_limit(lambda **given: seen.append(resource.getrlimit(resource.RLIMIT_DATA)))(**options)
    assert seen == [(32 << 30, before[1]) if limited else before]
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_lower_limit_of_the_system_stays(monkeypatch):
    monkeypatch.setenv("PERCEPTS_MEMORY", "64G")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (48 << 30, before[1]))
    try:
        with limit_memory():
            assert resource.getrlimit(resource.RLIMIT_DATA)[0] == 48 << 30
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def test_the_default_leaves_room_for_a_model_and_less_than_twice_the_machine(monkeypatch):
    monkeypatch.delenv("PERCEPTS_MEMORY", raising=False)
    limit = command_memory()
    assert limit is None or LEAST_BYTES <= limit <= max(LEAST_BYTES, 2 * machine_memory())


def test_a_program_that_calls_the_command_line_or_the_library_keeps_its_own_limit(tmp_path, large):
    code = (
        "import resource, sys\n"
        "from percepts.cli import main\nimport percepts\n"
        "before = resource.getrlimit(resource.RLIMIT_DATA)\n"
        "try:\n    main(['tokens', 'large.png', '-m', 'fake-image', '-o', 'out.npz'])\nexcept SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "assert resource.getrlimit(resource.RLIMIT_DATA) == before\n"
        "list(percepts.embed_iter('large.png', 'fake-image'))\n"
        "assert resource.getrlimit(resource.RLIMIT_DATA) == before\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "options"),
    [(("openl3", "audio"), ("--output-dir", "-o", "-as")), (("train", "adapter"), ("--output", "--set", "-o"))],
)
def test_a_command_with_a_limit_keeps_its_options(percepts, command, options):
    done = percepts(*command, "--help")
    assert done.returncode == 0
    assert all(option in done.stdout for option in options), done.stdout
