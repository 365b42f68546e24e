"""Download a wheel with pip: the last resort, since the user's pip may know keyrings and client certificates."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..support.files import open_file
from .download import Unavailable
from .files import hash_file


def pip_download(requirement: str, sha256: str, folder: Path, on_bytes: Callable[[int], Any]) -> Path:
    """Return the wheel that `pip download` brings into `folder`; Unavailable where that is not the pinned one."""
    if find_spec("pip") is None:
        raise Unavailable("is not installed here")
    for count in _run_pip(folder, requirement):
        on_bytes(count)
    wheels = list(Path(folder, "wheels").glob("*.whl"))
    if len(wheels) != 1:
        raise Unavailable(f"brought {[wheel.name for wheel in wheels]}, expected one wheel")
    if (found := hash_file(wheels[0])) != sha256:
        raise Unavailable(f"not the file that was tested: expected sha256 {sha256}, got {found}")
    return wheels[0]


def _run_pip(folder: Path, requirement: str) -> Iterator[int]:
    """Run pip download into `folder`/wheels; yield the bytes that have come, a few times a second.

    pip is given `folder` for its temporary files: their size is its progress, whatever pip's version.
    """
    wheels, scratch = folder / "wheels", folder / "scratch"
    scratch.mkdir(parents=True, mode=0o700)
    # Wheels only, and no dependencies: no code of a package is built or run.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(wheels)]
    command += ["--quiet", "--disable-pip-version-check", "--no-input", "--retries=1", requirement]
    # A file, since a pipe that nobody reads fills up and stops pip.
    with open_file(folder / "log", "w+b") as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "TMPDIR": str(scratch)},
            )
        except OSError as error:
            raise Unavailable(f"cannot be run: {error}") from error
        try:
            while process.poll() is None:
                yield _count_wheel_bytes(folder)
                time.sleep(0.1)
        finally:
            process.kill()  # reached, too, where the caller stops iterating; does nothing after a normal end
            process.wait()
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if process.returncode:
        raise Unavailable(f"failed: {_take_last_lines(said)}")


def _count_wheel_bytes(folder: Path) -> int:
    """Return the size of the largest wheel so far; a folder that pip removes meanwhile counts as empty."""
    total = 0
    for root, _, files in os.walk(folder):
        for found in (Path(root, file) for file in files if file.endswith(".whl")):
            with suppress(OSError):  # pip has moved it meanwhile
                total = max(total, found.stat().st_size)
    return total


def _take_last_lines(said: str, count: int = 2) -> str:
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith(("[notice]", "WARNING"))]
    return " / ".join(lines[-count:]) or "no message"
