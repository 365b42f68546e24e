"""What the system refuses: one line that names the file and says what to do, whatever the errno."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from percepts.cli.errors import CURES, describe_error
from percepts.support.files import atomic_file, atomic_path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def percepts(*arguments: object, limit: tuple[int, int] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "percepts.cli", *map(str, arguments)]
    before = (lambda: resource.setrlimit(limit[0], (limit[1], limit[1]))) if limit else None
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=before, timeout=120, check=False)


def embed(photos: Path, output: Path, limit: tuple[int, int] | None = None) -> subprocess.CompletedProcess[str]:
    return percepts("embed", photos, "-o", output, "-m", "fake-image", "--workers", "0", limit=limit)


@pytest.mark.parametrize("number", sorted(CURES))
def test_each_has_its_file_and_its_cure(number: int) -> None:
    assert describe_error(OSError(number, os.strerror(number), "/a/b")) == (
        f"/a/b: {os.strerror(number)}; {CURES[number]}"
    )


def test_a_full_disk_is_named_with_the_file_and_the_job_goes_on_later(photos: Path, tmp_path: Path) -> None:
    found = embed(photos, tmp_path / "out", limit=(resource.RLIMIT_FSIZE, 2000))
    assert found.returncode == 1
    assert "part-000000.parquet: File too large; a file cannot grow that large here" in found.stderr
    assert "Traceback" not in found.stderr
    assert embed(photos, tmp_path / "out").returncode == 0
    assert percepts("verify", tmp_path / "out").returncode == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_whatever_fails_while_a_file_is_written_names_it(tmp_path: Path, number: int) -> None:
    with pytest.raises(OSError, match=r"x\.npz") as error, atomic_file(tmp_path / "x.npz"):
        raise OSError(number, os.strerror(number))
    assert describe_error(error.value).endswith(CURES[number])
    with pytest.raises(OSError, match=r"y\.npz"), atomic_path(tmp_path / "y.npz"):
        raise OSError(number, os.strerror(number))
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_too_long_or_a_file_in_the_way_says_so(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for output, words in (
        (tmp_path / ("x" * 300), "the name is too long for this file system"),
        (tmp_path / "file" / "out", "a part of that path is a file"),
        (tmp_path / "file", "something with that name exists already"),
    ):
        found = embed(photos, output)
        assert found.returncode in (1, 2)
        assert words in found.stderr
        assert str(output)[:60] in found.stderr
        assert "Traceback" not in found.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
@pytest.mark.parametrize("options", ["size=16k", "ro"])
def test_a_real_disk_that_is_full_or_read_only(photos: Path, tmp_path: Path, options: str) -> None:
    mount = tmp_path / "disk"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        found = embed(photos, mount / "out")
        if options == "ro":
            assert "read-only: write to another disk" in found.stderr
        else:
            assert "No space left on device; free some space" in found.stderr
        assert found.returncode == 1
        assert str(mount / "out") in found.stderr
        assert "Traceback" not in found.stderr
    finally:
        subprocess.run(["umount", mount], check=True)
