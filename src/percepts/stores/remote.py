"""Read and write job directories in object stores, by way of a local copy.

Parts are uploaded first and the manifest last; nothing is renamed. A store replaces an object at once, so readers see
the state before a commit or after it. A run first brings its copy to the state of the store, and holds its lock.
Readers have copies of their own, see `copies`. Two runs at the same time are kept apart on one machine only. Names from
the store or its manifest are checked before they are used, and so are the size and digest of every object.
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
"""Schemes of object stores that fsspec opens, with the configuration and credentials of the user."""
ATTEMPTS = 3
"""How often a directory is read again because a run changed it meanwhile."""
BLOCK = 1 << 20  # bytes a read
_DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "hf": "huggingface_hub"}


def is_remote(uri: str) -> bool:
    """Return whether a URL is one of an object store."""
    return uri.startswith(SCHEMES)


def open_filesystem(uri: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it. MissingExtra where its driver is not installed."""
    driver = _DRIVERS.get(uri.partition(":")[0], "fsspec")
    try:
        from fsspec.core import url_to_fs

        # inside the try: fsspec imports the driver of a scheme at its first use
        system, path = url_to_fs(uri)
    except ImportError as error:
        raise MissingExtra(f"{uri}: needs {driver}: pip install {driver}") from error
    return system, path


class RemoteDirectory:
    """A job directory in a store, with the local copy in which a run works on it."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self._system, path = open_filesystem(url)
        self._path = path.rstrip("/")
        self.copy = user_cache_path("percepts") / "jobs" / safe_name(self.url)
        self.readers = self.copy.with_name(f"{self.copy.name}.copies")
        self.is_pulled = False

    def pull(self, *, fresh: bool = False) -> None:
        """Bring the copy of a run to the state of the store. The caller must hold the lock of the copy."""
        self.update_copy(self.copy, fresh=fresh)
        self.is_pulled = True

    def update_copy(self, copy: Path, *, fresh: bool = False, keep: bool = False) -> None:
        """Bring a copy to the state of the store: first the parts, each under a temporary name, then the manifest.

        Args:
            copy: a folder that nobody else writes to.
            fresh: download every part again without checks, also parts that no manifest lists; for `percepts verify`.
                Otherwise download what the manifest lists and the copy lacks, and check its size and sha256.
            keep: remove nothing, because somebody may be reading.

        Raises:
            JobDamaged: the manifest or a file that it lists is damaged.
            ReplaceConflict: with `keep`, a file would have to be replaced.
        """
        for attempt in range(ATTEMPTS):
            try:
                self._update_once(copy, fresh, keep)
                return
            except FileNotFoundError as error:  # a run has replaced a part since the manifest was read
                if attempt == ATTEMPTS - 1:
                    raise JobDamaged(f"{self.url}: a part is missing: {error}; {self._describe_cure()}") from error

    def _update_once(self, copy: Path, fresh: bool, keep: bool) -> None:
        self._system.invalidate_cache()  # fsspec keeps listings, which would hide the commits of other processes
        copy.mkdir(parents=True, exist_ok=True)
        data = self._read_manifest()
        listed = {} if data is None else self._read_listed_files(data, fresh)
        sizes = self._list_parts() if fresh else {name: info.bytes for name, info in listed.items()}
        present = set() if fresh else copies.find_intact_files(copy, listed)
        copies.remove_other_parts(copy, present, keep=keep)
        for name in sorted(sizes.keys() - present):
            with copies.receive_part(copy, name) as file:
                if fresh or not _copy_from_run(self.copy / name, listed[name], file):
                    self._download(name, sizes[name], "" if fresh else listed[name].sha256, file)
        copies.install_manifest(copy, data, unchecked=fresh)

    def _read_manifest(self) -> bytes | None:
        """Return the bytes of the manifest; None where there is none."""
        try:
            with self._system.open(f"{self._path}/{MANIFEST}", "rb") as file:
                return bytes(file.read(MAX_BYTES + 1))  # the byte beyond the limit shows that it is too large
        except FileNotFoundError:
            return None

    def _read_listed_files(self, data: bytes, fresh: bool) -> dict[str, PartInfo]:
        try:
            return parse_manifest(data, self.url).files
        except JobDamaged:
            if not fresh:  # `percepts verify` reads the parts even if the manifest is damaged
                raise
            return {}

    def _download(self, name: str, size: int, sha256: str, file: IO[bytes]) -> None:
        """Download an object into a file. JobDamaged where its size or digest differs."""
        digest, got = hashlib.sha256(), 0
        with self._system.open(f"{self._path}/{name}", "rb") as source:
            while got <= size and (data := source.read(BLOCK)):  # an object that is too large is not read to its end
                got += len(data)
                digest.update(data)
                file.write(data)
        if got != size:
            more = "more" if got > size else f"{got}"
            raise JobDamaged(f"{self.url}/{name}: {more} bytes, expected {size}; {self._describe_cure()}")
        if sha256 and digest.hexdigest() != sha256:
            raise JobDamaged(f"{self.url}/{name}: its bytes are not those that were written; {self._describe_cure()}")

    def _describe_cure(self) -> str:
        return f"`percepts verify {self.url}` lists all damage, and with --repair it is repaired"

    def list_jobs(self, folder: str) -> list[str]:
        """Return the URLs of the job directories in a subfolder."""
        paths = self._system.glob(f"{self._path}/{folder}/*/{MANIFEST}")
        names = (path.split("/")[-2] for path in sorted(paths))
        # names from a store may be hostile, so only harmless ones are used
        return [f"{self.url}/{folder}/{name}" for name in names if safe_name(name) == name]

    def delete_orphans(self, listed: Collection[str]) -> None:
        """Delete the parts that the manifest does not list: those of a run that was killed."""
        for name in self._list_parts().keys() - set(listed):
            self._delete(name)

    def push(self, new: Collection[str], gone: Collection[str]) -> None:
        """Upload new parts, then the manifest; only then delete the parts that it does not list any more."""
        for name in (*sorted(new), MANIFEST):
            self._upload(name)
        for name in gone:
            self._delete(name)

    def push_other_files(self) -> None:
        """Upload the files beside the tables: other formats, and the report of the run."""
        for path in sorted(self.copy.rglob("*")):
            name = path.relative_to(self.copy).as_posix()
            # the index stays here, because it can be built again from the parts
            if is_file(path) and not name.startswith(("data/", "ledger/", "index/", ".", MANIFEST)):
                self._upload(name)

    def _list_parts(self) -> dict[str, int]:
        """Return name and size of every object whose name is that of a part. Others are left alone."""
        sizes: dict[str, int] = {}
        for folder in OURS:
            for key, facts in self._system.find(f"{self._path}/{folder}", detail=True).items():
                name = key[len(self._path) :].lstrip("/")
                if key.startswith(self._path) and is_part_name(name):
                    sizes[name] = int(facts["size"])
                else:
                    log.warning("%s: %s is not a file of percepts, and is left alone", self.url, ascii(key))
        return sizes

    def _upload(self, name: str) -> None:
        self._system.pipe_file(f"{self._path}/{name}", (self.copy / name).read_bytes())

    def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError):  # a run that was killed may have deleted it
            self._system.rm_file(f"{self._path}/{name}")


def _copy_from_run(path: Path, info: PartInfo, file: IO[bytes]) -> bool:
    """Copy a part from the copy of a run on this machine; return False, and leave `file` empty, where it differs."""
    if not is_file(path) or path.stat().st_size != info.bytes:
        return False
    digest = hashlib.sha256()
    with suppress(FileNotFoundError), path.open("rb") as source:  # a run may be replacing the part
        while data := source.read(BLOCK):
            digest.update(data)
            file.write(data)
    if digest.hexdigest() == info.sha256:
        return True
    file.seek(0)
    file.truncate()
    return False


def remote_url(directory: str | Path) -> str | None:
    """Return the URL of a directory in an object store; None for other directories."""
    # a Path turns s3:// into s3:/
    scheme, mark, rest = str(directory).partition(":/")
    url = f"{scheme}://{rest.lstrip('/')}"
    return url if mark and is_remote(url) else None


def display_name(directory: str | Path) -> str:
    """Return the name of a directory for messages: its URL or its path."""
    return remote_url(directory) or str(Path(directory))


def locate_directory(directory: str | Path) -> tuple[Path, RemoteDirectory | None]:
    """Return the folder in which a run works on a directory, and its store or None. Nothing is downloaded yet."""
    remote = RemoteDirectory(url) if (url := remote_url(directory)) else None
    return (remote.copy if remote else Path(directory)), remote


def make_local_copy(directory: str | Path) -> Path:
    """Return a local directory itself; of one in an object store, an up-to-date copy to read from.

    The copy belongs to this process until it ends. Files of a copy that an earlier call returned stay in place.
    """
    remote = RemoteDirectory(url) if (url := remote_url(directory)) else None
    return copies.copy_for_reading(remote.update_copy, remote.readers) if remote else Path(directory)


@contextmanager
def open_stored_copy(directory: str | Path) -> Iterator[Path]:
    """Return a local directory itself, or an unchecked copy of one in a store, for `percepts verify`.

    The copy stays until this process asks for the next one.
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
