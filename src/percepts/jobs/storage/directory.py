"""Write finished rows and entries to a job directory in atomic parts, so that it can be continued at any time."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout

from ...errors import JobDamaged, JobLocked, SettingsDiffer
from ...stores.lance_files import erase_indexes
from ...stores.manifest import MANIFEST, Part, PartInfo
from ...stores.parquet import Row, read_part, write_part, write_table
from ...stores.remote import RemoteDirectory
from ...support.files import (
    SUFFIX,
    copy_file,
    is_file,
    link_file,
    open_file,
    remove_empty_folder,
    remove_file,
    safe_name,
)
from ...tasks.settings import upgrade_settings
from ...types import Spec
from . import formats
from .entry import LedgerEntry
from .format_files import FormatFiles
from .ledger import Manifest, all_ledger_batches, ledger_entries, ledger_table
from .ledger import settings_differences as setting_differences
from .owned_files import LOCK, STALLED, STATS, refuse_foreign, refuse_occupied, remove_parts
from .source_index import LedgerIndex

log = logging.getLogger(__name__)

LIBRARIES = ("percepts", "numpy", "pillow", "av", "soundfile", "soxr", "onnxruntime", "openvino", "torch")


class DirectoryLock:
    """The lock of the only writer of a directory; the system releases it when the process ends in any way."""

    def __init__(self, path: Path):
        self._path, self._lock = path, FileLock(path / LOCK)

    def acquire(self) -> None:
        """Take the lock; raise JobLocked with the holder's name if another run has it, JobError as `refuse_foreign`."""
        refuse_foreign(self._path, formats.FOLDERS)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            holder = (self._path / LOCK).read_text(errors="replace").strip()
            raise JobLocked(f"{self._path}: another run is writing here ({holder}); wait for it or stop it") from error
        with open_file(self._path / LOCK, "w") as file:
            file.write(f"process {os.getpid()} on {socket.gethostname()}")

    def check(self) -> None:
        """Raise JobLocked if the lock was removed or replaced, since another run may then write here, too."""
        # filelock offers no public way to the descriptor of the lock file.
        held = self._lock._context.lock_file_fd
        try:
            found = os.stat(self._path / LOCK)
        except FileNotFoundError:
            found = None
        if held is None or found is None or not os.path.samestat(os.fstat(held), found):
            raise JobLocked(
                f"{self._path}: its lock ({LOCK}) was removed while this run wrote here, so another may write, too. "
                "What was finished before is kept: make sure that no other run is active, then start this one again"
            )

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class JobDirectory:
    """The only writer of a job directory, used as a context that holds the lock.

    A commit writes its files first and the manifest last, so that a kill at any instant leaves either the state
    before or the state after. Parts that the manifest does not list are removed at the next opening, and nothing else:
    see `owned_files`.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        specs: Sequence[Spec],
        *,
        overwrite: bool = False,
        remote: RemoteDirectory | None = None,
    ):
        self.path = path
        self._remote = remote
        self._stored_files: set[str] = set()
        self.specs = {spec.name: spec for spec in specs}
        self._settings: dict[str, Any] = upgrade_settings(
            json.loads(json.dumps(settings))
        )  # as they are after a round trip through the manifest
        self._overwrite = overwrite
        self.used_graphs: Callable[[], Mapping[str, str]] = dict
        """Called at each commit: the sha256 of the graph that each model ran as, stored for readers."""
        self._lock = DirectoryLock(path)
        self.formats = FormatFiles(path, formats.FOLDERS)
        self.manifest: Manifest

    def __enter__(self) -> JobDirectory:
        refuse_foreign(self.path, formats.FOLDERS)
        # All refusals come before anything is created.
        if not self._remote and not (self.path / MANIFEST).exists():
            refuse_occupied(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            # Under the lock, so that no other run on this machine changes the copy meanwhile.
            if self._remote and not self._remote.is_pulled:
                self._remote.pull()
            exists = (self.path / MANIFEST).exists()
            self.manifest = (
                self._create() if not exists else self._erase_own_files() if self._overwrite else self._open()
            )
            self._stored_files = self.manifest.files
            self.manifest.versions = library_versions()
            self._sweep()
            # A killed run has left rows of sources that it did not finish; they are processed from the start.
            if self.manifest.unfinished:
                self.commit([], [], forget=self.manifest.unfinished)
        # Also on Ctrl-C: whoever fails to open the directory must not keep its lock.
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def load_known_sources(self) -> LedgerIndex:
        """Return the sources of the ledger, by `fingerprint_name` of their uri."""
        columns = ["uri", "size", "mtime_ns", "sha256", "status"]
        return LedgerIndex(all_ledger_batches(self.path, self.manifest, columns=columns))

    def failures(self) -> list[str]:
        """Return the uris whose ledger entry is an error."""
        rows = ledger_entries(self.path, self.manifest, columns=["uri", "status"])
        return [row["uri"] for row in rows if row["status"] == "error"]

    def runtimes(self) -> dict[str, str]:
        """Return the runtime that made the vectors of each model, by name of the model."""
        return {name: model["runtime"] for name, model in self.manifest.models.items() if model.get("runtime")}

    def commit(
        self,
        rows: Sequence[Row],
        finished: Sequence[LedgerEntry],
        *,
        forget: Collection[str] = (),
        unfinished: Iterable[str] = (),
        runtimes: Mapping[str, str] | None = None,
        recount: bool = False,
    ) -> None:
        """Add rows and entries as one part, and in the same instant remove everything older of the uris in `forget`.

        Args:
            rows: rows of the tables.
            finished: ledger entries of finished sources.
            forget: uris whose older rows and entries are removed.
            unfinished: uris with rows in the tables and no ledger entry yet.
            runtimes: the runtime of each model, by name.
            recount: whether to count the rows and entries again.
        """
        self._lock.check()
        parts = self._parts_without(set(forget)) if forget else list(self.manifest.parts)
        if rows or finished:
            parts.append(self._write(rows, finished))
        formats.remove_formats(self.formats, forget, self.specs)
        self.manifest.unfinished = sorted(unfinished)
        for model, runtime in (runtimes or {}).items():
            self.manifest.models[model]["runtime"] = runtime
        for model, graph in self.used_graphs().items():
            self.manifest.models[model]["graph"] = graph
        self._publish(parts, finished, recount=recount or bool(forget))

    def adopt(self, root: Path, parts: Sequence[Part], *, forget: Collection[str]) -> None:
        """Add the parts of another directory unchanged, and in the same instant remove everything of `forget` here."""
        self._lock.check()
        kept = self._parts_without(set(forget)) if forget else list(self.manifest.parts)
        formats.remove_formats(self.formats, forget, self.specs)
        for part in parts:
            number = self._take_number()
            data = {
                model: self._link_part(root, info, self._data_path(model, number)) for model, info in part.data.items()
            }
            ledger = self._link_part(root, part.ledger, self._ledger_path(number)) if part.ledger else None
            kept.append(Part(number, data, ledger))
        self._publish(kept, [], recount=True)

    def _link_part(self, root: Path, info: PartInfo, path: Path) -> PartInfo:
        """Link a file of another directory here, or copy it if the file system cannot link."""
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_file(path)
        try:  # parts are never changed in place, so two directories may share one file
            link_file(root / info.name, path)
        except OSError:
            copy_file(root / info.name, path)
        return replace(info, name=path.relative_to(self.path).as_posix())

    def _publish(self, parts: list[Part], finished: Sequence[LedgerEntry], *, recount: bool) -> None:
        manifest = self.manifest
        removed = manifest.files - {info.name for part in parts for info in part.files}
        manifest.parts = parts
        manifest.counts = self._count_entries(recount=recount, finished=finished)
        new = manifest.files - self._stored_files
        self._lock.check()
        manifest.write(self.path)
        if self._remote:
            self._remote.push(new, removed)
            self._stored_files = manifest.files
        # Until the new manifest is in place the old files are the job, so they go last.
        for name in removed:
            self._remove(name)

    def _remove(self, name: str) -> None:
        if is_file(self.path / name):
            remove_file(self.path / name)
        elif os.path.lexists(self.path / name):
            log.warning("%s is not needed any more, but is a link or a folder, so it was not removed", self.path / name)

    def _erase_own_files(self) -> Manifest:
        """Erase what the job made and nothing else, then write an empty manifest."""
        try:
            old = Manifest.read(self.path)
        except JobDamaged as error:
            raise JobDamaged(
                f"{error}. Only what a manifest of percepts lists is overwritten: choose another directory, or repair "
                f"this one with `percepts verify {self.path} --repair`"
            ) from error
        # What is made from the tables goes first, so that a kill never leaves exports of tables that are gone.
        self.formats.erase()
        erase_indexes(self.path)
        for name in (STATS, STALLED):
            remove_file(self.path / name)
        manifest = self._write_empty_manifest()
        remove_parts(self.path, old.models)
        for model in old.models:
            remove_empty_folder(self._data_path(model, 0).parent)
        return manifest

    def _open(self) -> Manifest:
        manifest = Manifest.read(self.path)
        changed = setting_differences(upgrade_settings(manifest.fingerprint), self._settings)
        if changed and not manifest.parts:  # left by a run whose model could not be loaded: there is nothing to mix
            return self._create()
        if changed:
            raise SettingsDiffer(
                f"{self.path} was made with other settings ({'; '.join(changed[:4])}); results of both kinds cannot "
                "be compared: use another output directory, the old settings, or --overwrite"
            )
        for part in manifest.parts:
            for info in part.files:
                self._check(info)
        return manifest

    def _check(self, info: PartInfo) -> None:
        """Raise JobDamaged if a file is missing or has another size; only `percepts verify` reads the bytes."""
        path = self.path / info.name
        found = path.stat().st_size if path.exists() else None
        if found != info.bytes:
            state = "is missing" if found is None else f"has {found} bytes, expected {info.bytes}"
            raise JobDamaged(f"{path} {state}; `percepts verify {self.path}` lists all damage, and --repair mends it")

    def _create(self) -> Manifest:
        refuse_occupied(self.path)
        return self._write_empty_manifest()

    def _write_empty_manifest(self) -> Manifest:
        """Write a manifest without any part."""
        weights = self._settings.get("models", {})
        models = {
            name: {"spec": _as_json(spec), "weights": weights.get(name, {}).get("weights", {})}
            for name, spec in self.specs.items()
        }
        manifest = Manifest(self._settings, models)
        manifest.write(self.path)
        return manifest

    def _sweep(self) -> None:
        listed = self.manifest.files
        remove_parts(self.path, self.manifest.models, keep=listed)
        remove_file(self.path / (MANIFEST + SUFFIX))
        if self._remote:
            self._remote.delete_orphans(listed)

    def _take_number(self) -> int:
        number = self.manifest.next_part
        self.manifest.next_part += 1
        return number

    def _write(self, rows: Sequence[Row], finished: Sequence[LedgerEntry]) -> Part:
        number = self._take_number()
        by_model: dict[str, list[Row]] = {}
        for row in rows:
            by_model.setdefault(row.record.model, []).append(row)
        data = {
            model: write_part(self._data_path(model, number), found, self.specs[model], root=self.path)
            for model, found in by_model.items()
        }
        ledger = self._write_ledger(number, finished) if finished else None
        return Part(number, data, ledger)

    def _write_ledger(self, number: int, finished: Sequence[LedgerEntry]) -> PartInfo:
        return write_table(self._ledger_path(number), ledger_table(finished, self.manifest), root=self.path)

    def _parts_without(self, uris: set[str]) -> list[Part]:
        """Return the parts without these sources; files that hold some of them are written again under new names."""
        wanted = pa.array(sorted(uris), pa.string())
        kept = []
        for part in self.manifest.parts:
            number = -1
            files: dict[str, PartInfo | None] = {}
            for model, info in [*part.data.items(), *([("", part.ledger)] if part.ledger else [])]:
                table = _read_table(self.path / info.name)
                column = table.column("source" if model else "uri")
                keep = pc.invert(pc.is_in(column, value_set=wanted))
                if pc.all(keep).as_py():
                    files[model] = info
                    continue
                # New names, since the old manifest must stay true until it is replaced.
                number = self._take_number() if number < 0 else number
                path = self._data_path(model, number) if model else self._ledger_path(number)
                rest = table.filter(keep)
                files[model] = write_table(path, rest, root=self.path) if rest.num_rows else None
            data = {model: info for model, info in files.items() if model and info}
            ledger = files.get("")
            if data or ledger:
                kept.append(Part(part.number if number < 0 else number, data, ledger))
        return kept

    def _data_path(self, model: str, number: int) -> Path:
        return self.path / "data" / safe_name(model) / f"part-{number:06d}.parquet"

    def _ledger_path(self, number: int) -> Path:
        return self.path / "ledger" / f"part-{number:06d}.parquet"

    def _count_entries(self, *, recount: bool, finished: Sequence[LedgerEntry]) -> dict[str, int]:
        """Count entries by status and all rows; read the whole ledger only if entries were removed (`recount`)."""
        counts = {"ok": 0, "error": 0, "skipped": 0}
        if recount:
            for row in ledger_entries(self.path, self.manifest, columns=["status"]):
                counts[row["status"]] += 1
        else:
            counts.update({k: v for k, v in self.manifest.counts.items() if k in counts})
            for entry in finished:
                counts[entry.status] += 1
        rows = sum(info.rows for part in self.manifest.parts for info in part.data.values())
        return {**counts, "sources": sum(counts.values()), "rows": rows}


def library_versions() -> dict[str, str]:
    """Return the versions of percepts and of the installed libraries that can change a number."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _read_table(path: Path) -> pa.Table:
    return pa.Table.from_batches(list(read_part(path)))


def _as_json(spec: Spec) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(spec).items()}
