"""A job directory in an object store, worked on in a copy: parts go up first, the manifest last, nothing is renamed.

A store replaces an object in one instant, so readers see the state before a commit or the state after it. What is in
the store is the truth: a run begins by bringing the copy to it. Two runs at once are kept apart on one machine only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from ..errors import MissingExtra
from ..support.files import safe_name
from .manifest import MANIFEST, read_manifest
from .parquet import OURS

SCHEMES = ("s3://", "gs://", "gcs://", "az://", "abfs://", "hf://", "memory://")
"""Object stores, reached through fsspec, with the user's own configuration and credentials."""
_DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "hf": "huggingface_hub"}


def is_remote(uri: str) -> bool:
    """Whether fsspec opens it."""
    return uri.startswith(SCHEMES)


def system_of(uri: str) -> tuple[Any, str]:
    """The store of a URL, and the path in it; MissingExtra where its driver is not installed."""
    driver = _DRIVERS.get(uri.partition(":")[0], "fsspec")
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(uri)
    except ImportError as error:
        raise MissingExtra(f"{uri}: needs {driver}: pip install {driver}") from error
    return system, path


class Remote:
    """One job directory of a store, and its copy."""

    def __init__(self, url: str):
        self._url = url.rstrip("/")
        self._system, path = system_of(url)
        self._path = path.rstrip("/")
        self.copy = user_cache_path("percepts") / "jobs" / safe_name(self._url)

    def pull(self, *, fresh: bool = False) -> Path:
        """Bring the copy to what the store holds, and say where it is.

        A file of the right size is not brought again, unless `fresh`: then the copy is what the store holds, byte by
        byte, with all that no manifest lists.
        """
        self.copy.mkdir(parents=True, exist_ok=True)
        there = self._bring(MANIFEST)
        if fresh or not there:
            for folder in OURS:
                _emptied(self.copy / folder)
        if fresh:
            wanted = self._parts()
        else:
            wanted = [name for name, size in _listed(self.copy) if _size(self.copy / name) != size] if there else []
        for name in wanted:
            self._bring(name)
        return self.copy

    def under(self, folder: str) -> list[Remote]:
        """The job directories in a folder of this one."""
        found = self._system.glob(f"{self._path}/{folder}/*/{MANIFEST}")
        return [Remote(f"{self._url}/{folder}/{name.split('/')[-2]}") for name in sorted(found)]

    def sweep(self, listed: Collection[str]) -> None:
        """Take away the parts that no manifest lists: orphans of a run that was killed."""
        for name in set(self._parts()) - set(listed):
            self._take_away(name)

    def push(self, new: Collection[str], gone: Collection[str]) -> None:
        """Put up what is new, then the manifest; only then take away what it lists no more."""
        for name in (*sorted(new), MANIFEST):
            self._put(name)
        for name in gone:
            self._take_away(name)

    def push_beside(self) -> None:
        """Put up what lies beside the tables: other formats, and what the run did."""
        for path in sorted(self.copy.rglob("*")):
            name = path.relative_to(self.copy).as_posix()
            if path.is_file() and not name.startswith(("data/", "ledger/", "index/", ".", MANIFEST)):
                self._put(name)

    def _parts(self) -> list[str]:
        found = (name for folder in OURS for name in self._system.find(f"{self._path}/{folder}"))
        return sorted(name[len(self._path) :].lstrip("/") for name in found)

    def _bring(self, name: str) -> bool:
        """Whether it is there."""
        path = self.copy / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.write_bytes(self._system.cat_file(f"{self._path}/{name}"))
        except FileNotFoundError:
            path.unlink(missing_ok=True)
            return False
        return True

    def _put(self, name: str) -> None:
        self._system.pipe_file(f"{self._path}/{name}", (self.copy / name).read_bytes())

    def _take_away(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._system.rm_file(f"{self._path}/{name}")


def url_of(directory: str | Path) -> str | None:
    """The URL of a directory in a store, also where it has been a Path, which takes a slash away; None for others."""
    scheme, mark, rest = str(directory).partition(":/")
    url = f"{scheme}://{rest.lstrip('/')}"
    return url if mark and is_remote(url) else None


def place_of(directory: str | Path) -> str:
    """A directory as a person names it: by its URL or its path."""
    return url_of(directory) or str(Path(directory))


def opened(directory: str | Path, *, fresh: bool = False) -> tuple[Path, Remote | None]:
    """The directory itself, or the copy of one in a store, brought up to date, and that one; see `Remote.pull`."""
    remote = Remote(url) if (url := url_of(directory)) else None
    return (remote.pull(fresh=fresh) if remote else Path(directory)), remote


def here(directory: str | Path, *, fresh: bool = False) -> Path:
    """The same where nothing is written."""
    return opened(directory, fresh=fresh)[0]


def _listed(directory: Path) -> Iterator[tuple[str, int]]:
    """Names and sizes of the files that a manifest lists; JobDamaged where it cannot be read."""
    for info in read_manifest(directory).files.values():
        yield info.name, info.bytes


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def _emptied(folder: Path) -> None:
    for path in folder.rglob("*") if folder.exists() else ():
        if path.is_file():
            path.unlink()
