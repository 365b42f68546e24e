"""A job directory in an object store, worked on in a copy: parts go up first, the manifest last, nothing is renamed.

A store replaces an object in one instant, so readers see the state before a commit or the state after it. What is in
the store is the truth: a run begins by bringing its copy to it, under the lock of the copy. Readers have copies of
their own, see `copies`. Two runs at once are kept apart on one machine only. No name that the store or its manifest
says is used before it is checked, and no object gets its name here before its size and digest are.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from platformdirs import user_cache_path

from ..errors import JobDamaged, MissingExtra
from ..support.files import is_file, safe_name
from . import copies
from .manifest import MANIFEST, MAX_BYTES, PartInfo, is_part_name, parse_manifest
from .parquet import OURS

log = logging.getLogger(__name__)

SCHEMES = ("s3://", "gs://", "gcs://", "az://", "abfs://", "hf://", "memory://")
"""Object stores, reached through fsspec, with the user's own configuration and credentials."""
ATTEMPTS = 3
"""Times that a directory is read anew because a run has changed it meanwhile."""
BLOCK = 1 << 20
_DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "hf": "huggingface_hub"}


def is_remote(uri: str) -> bool:
    """Whether fsspec opens it."""
    return uri.startswith(SCHEMES)


def open_filesystem(uri: str) -> tuple[Any, str]:
    """The store of a URL, and the path in it; MissingExtra where its driver is not installed."""
    driver = _DRIVERS.get(uri.partition(":")[0], "fsspec")
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(uri)
    except ImportError as error:
        raise MissingExtra(f"{uri}: needs {driver}: pip install {driver}") from error
    return system, path


class RemoteDirectory:
    """One job directory of a store, and the copy in which a run works on it."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self._system, path = open_filesystem(url)
        self._path = path.rstrip("/")
        self.copy = user_cache_path("percepts") / "jobs" / safe_name(self.url)
        self.readers = self.copy.with_name(f"{self.copy.name}.copies")
        self.is_pulled = False

    def pull(self, *, fresh: bool = False) -> None:
        """Bring the copy of a run to what the store holds; whoever calls holds the lock of the copy."""
        self.update_copy(self.copy, fresh=fresh)
        self.is_pulled = True

    def update_copy(self, copy: Path, *, fresh: bool = False, keep: bool = False) -> None:
        """Bring a copy to what the store holds. Its manifest comes last, each file under a temporary name first.

        Args:
            copy: a folder that nobody else writes to.
            fresh: bring every part anew, as it is, those too that no manifest lists; for `percepts verify`. Else only
                what the manifest lists and the copy lacks is brought, and its size and sha256 are checked.
            keep: remove nothing, since somebody may be reading.

        Raises:
            JobDamaged: the manifest, or a file that it lists, is not as it should be.
            Replaced: with `keep`, a file would have to be replaced.
        """
        for attempt in range(ATTEMPTS):
            try:
                self._update_once(copy, fresh, keep)
                return
            except FileNotFoundError as error:  # a run has replaced a part since the manifest was read
                if attempt == ATTEMPTS - 1:
                    raise JobDamaged(f"{self.url}: a part is missing: {error}; {self._describe_cure()}") from error

    def _update_once(self, copy: Path, fresh: bool, keep: bool) -> None:
        self._system.invalidate_cache()
        copy.mkdir(parents=True, exist_ok=True)
        data = self._read_manifest()
        listed = {} if data is None else self._read_listed_files(data, fresh)
        wanted = self._list_parts() if fresh else {name: info.bytes for name, info in listed.items()}
        there = set() if fresh else copies.find_intact_files(copy, listed)
        copies.remove_other_parts(copy, there, keep=keep)
        for name in sorted(wanted.keys() - there):
            with copies.receive_part(copy, name) as file:
                if fresh or not _copy_from_run(self.copy / name, listed[name], file):
                    self._download(name, wanted[name], "" if fresh else listed[name].sha256, file)
        copies.install_manifest(copy, data, unchecked=fresh)

    def _read_manifest(self) -> bytes | None:
        """The bytes of the manifest; None where there is none."""
        try:
            with self._system.open(f"{self._path}/{MANIFEST}", "rb") as file:
                return bytes(file.read(MAX_BYTES + 1))
        except FileNotFoundError:
            return None

    def _read_listed_files(self, data: bytes, fresh: bool) -> dict[str, PartInfo]:
        try:
            return parse_manifest(data, self.url).files
        except JobDamaged:
            if not fresh:
                raise
            return {}

    def _download(self, name: str, size: int, sha256: str, file: IO[bytes]) -> None:
        """Copy an object into a file. JobDamaged where it is not of this size, or of another digest."""
        digest, got = hashlib.sha256(), 0
        with self._system.open(f"{self._path}/{name}", "rb") as source:
            while got <= size and (data := source.read(BLOCK)):
                got += len(data)
                digest.update(data)
                file.write(data)
        if got != size:
            more = "more" if got > size else f"{got}"
            raise JobDamaged(f"{self.url}/{name}: {more} bytes, expected {size}; {self._describe_cure()}")
        if sha256 and digest.hexdigest() != sha256:
            raise JobDamaged(f"{self.url}/{name}: its bytes are not those that were written; {self._describe_cure()}")

    def _describe_cure(self) -> str:
        return f"`percepts verify {self.url}` lists all damage, with --repair it is mended"

    def list_jobs(self, folder: str) -> list[str]:
        """The URLs of the job directories in a folder of this one."""
        found = self._system.glob(f"{self._path}/{folder}/*/{MANIFEST}")
        names = (name.split("/")[-2] for name in sorted(found))
        return [f"{self.url}/{folder}/{name}" for name in names if safe_name(name) == name]

    def delete_orphans(self, listed: Collection[str]) -> None:
        """Take away the parts that no manifest lists: orphans of a run that was killed."""
        for name in self._list_parts().keys() - set(listed):
            self._delete(name)

    def push(self, new: Collection[str], gone: Collection[str]) -> None:
        """Put up what is new, then the manifest; only then take away what it lists no more."""
        for name in (*sorted(new), MANIFEST):
            self._upload(name)
        for name in gone:
            self._delete(name)

    def push_other_files(self) -> None:
        """Put up what lies beside the tables: other formats, and what the run did."""
        for path in sorted(self.copy.rglob("*")):
            name = path.relative_to(self.copy).as_posix()
            if is_file(path) and not name.startswith(("data/", "ledger/", "index/", ".", MANIFEST)):
                self._upload(name)

    def _list_parts(self) -> dict[str, int]:
        """Name and size of every object that may be a part; others are not ours and are left alone."""
        found: dict[str, int] = {}
        for folder in OURS:
            for key, facts in self._system.find(f"{self._path}/{folder}", detail=True).items():
                name = key[len(self._path) :].lstrip("/")
                if key.startswith(self._path) and is_part_name(name):
                    found[name] = int(facts["size"])
                else:
                    log.warning("%s: %s has no name of a part, and is left alone", self.url, ascii(key))
        return found

    def _upload(self, name: str) -> None:
        self._system.pipe_file(f"{self._path}/{name}", (self.copy / name).read_bytes())

    def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._system.rm_file(f"{self._path}/{name}")


def _copy_from_run(path: Path, info: PartInfo, file: IO[bytes]) -> bool:
    """Take a part from the copy of a run on this machine; leave `file` empty where it is not there, or is another."""
    if not is_file(path) or path.stat().st_size != info.bytes:
        return False
    digest = hashlib.sha256()
    with suppress(FileNotFoundError), path.open("rb") as source:
        while data := source.read(BLOCK):
            digest.update(data)
            file.write(data)
    if digest.hexdigest() == info.sha256:
        return True
    file.seek(0)
    file.truncate()
    return False


def remote_url(directory: str | Path) -> str | None:
    """The URL of a directory in a store, also where it has been a Path, which takes a slash away; None for others."""
    scheme, mark, rest = str(directory).partition(":/")
    url = f"{scheme}://{rest.lstrip('/')}"
    return url if mark and is_remote(url) else None


def display_name(directory: str | Path) -> str:
    """A directory as a person names it: by its URL or its path."""
    return remote_url(directory) or str(Path(directory))


def locate_directory(directory: str | Path) -> tuple[Path, RemoteDirectory | None]:
    """Return the folder in which a run works on a directory, and its store; nothing is brought from there yet."""
    remote = RemoteDirectory(url) if (url := remote_url(directory)) else None
    return (remote.copy if remote else Path(directory)), remote


def make_local_copy(directory: str | Path) -> Path:
    """Return the directory itself, or a copy for reading of one in a store, brought up to date.

    The copy is this process's own until it ends. What an earlier call returned stays whole.
    """
    remote = RemoteDirectory(url) if (url := remote_url(directory)) else None
    return copies.copy_for_reading(remote.update_copy, remote.readers) if remote else Path(directory)


@contextmanager
def open_stored_copy(directory: str | Path) -> Iterator[Path]:
    """Give the directory itself, or a copy of one in a store as it lies there, byte by byte, for `percepts verify`.

    The copy is left as it is until the next that this process asks for.
    """
    remote = RemoteDirectory(url) if (url := remote_url(directory)) else None
    if remote is None:
        yield Path(directory)
        return
    with copies.borrow_copy(remote.readers) as copy:
        remote.update_copy(copy, fresh=True)
        if (copy / MANIFEST).exists():
            parse_manifest((copy / MANIFEST).read_bytes(), remote.url)
        yield copy
