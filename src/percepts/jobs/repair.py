"""Repair a job directory: remove what is damaged, and process exactly those sources again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..encoders import list_models, load_encoder
from ..encoders import model_spec as find
from ..errors import JobDamaged, JobError, JobTooNew, PerceptsError
from ..stores.manifest import MANIFEST, Part, PartInfo, check_settings
from ..stores.parquet import OURS, read_specs
from ..stores.remote import RemoteDirectory, locate_directory
from ..support.files import is_file, safe_name, set_aside_file
from ..tasks.base import Task
from ..tasks.settings import upgrade_settings
from ..types import Spec
from ..weights import fetch_weights
from .options import RunOptions
from .progress import Report
from .rehearsal import keep_stdout_clean, rehearse
from .run import run
from .storage.directory import DirectoryLock, JobDirectory
from .storage.entry import LedgerEntry
from .storage.ledger import ABOUT, Manifest, ledger_entries, settings_differences
from .tasks import task_classes
from .verify import DirectoryCheck, VerifyReport, verify

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RepairReport:
    """The result of `repair`.

    files    damaged files, which were removed
    sources  whose rows or entries were damaged or lost
    report   of the run that processed those sources again; None if there was nothing to do, or the task is not one of
             percepts
    verdict  of the directory as it is now
    """

    files: tuple[str, ...]
    sources: tuple[str, ...]
    report: Report | None
    verdict: VerifyReport


def repair(directory: str | Path, *, workers: int | None = None, hosts: Sequence[str] = ()) -> RepairReport:
    """Repair a job directory: files cut, changed or missing, a lost manifest, rows that do not fit the ledger.

    Every source with a row or an entry in what is damaged is removed and processed again, by the task that the settings
    of the directory describe. Before anything is removed, the models are loaded and tried. If the task is not one of
    percepts, the sources are marked, and the next run of the program that made the directory processes them. A source
    whose rows and entry are both lost is not known any more, and the next run processes it as a new one.

    Raises:
        JobError: there is no job here, or its task cannot be restored; nothing was removed.
        JobDamaged: the manifest is lost, and no part of the ledger can be read.
        JobLocked: a run is writing there.
    """
    output = directory
    directory, remote = locate_directory(output)
    with _lock_directory(directory, remote):
        if remote:
            # The copy of an earlier run would hide damage in the store.
            remote.pull(fresh=True)
        manifest = _read_or_rebuild_manifest(directory)
        # First the damaged files, since their rows must not be counted; then the sources that this leaves incomplete.
        files = {problem.file for problem in DirectoryCheck(directory, manifest).run().problems if problem.file}
        manifest.parts = list(_intact_parts(manifest.parts, files))
        found = DirectoryCheck(directory, manifest).run()
        sources = sorted({problem.source for problem in found.problems if problem.source})
        tables = tuple(read_specs(directory).values())
        # Nothing was removed so far, and nothing will be if the task or its models cannot be had.
        task = _restore_task(directory, manifest, tables) if sources else None
        manifest.write(directory)
    with JobDirectory(directory, manifest.fingerprint, tables, remote=remote) as job:
        job.commit([], _mark_for_retry(directory, manifest, sources), forget=sources, recount=True)
    report = _process_again(output, task, sources, workers, hosts) if sources else None
    return RepairReport(tuple(sorted(files)), tuple(sources), report, verify(output))


def _lock_directory(directory: Path, remote: RemoteDirectory | None) -> DirectoryLock:
    if remote:
        directory.mkdir(parents=True, exist_ok=True)
    elif not any((directory / name).exists() for name in (MANIFEST, *OURS)):
        Manifest.read(directory)  # says that there is no job here
    return DirectoryLock(directory)


def _intact_parts(parts: Sequence[Part], damaged: set[str]) -> Iterator[Part]:
    for part in parts:
        data = {model: info for model, info in part.data.items() if info.name not in damaged}
        ledger = part.ledger if part.ledger and part.ledger.name not in damaged else None
        if data or ledger:
            yield Part(part.number, data, ledger)


def _mark_for_retry(directory: Path, manifest: Manifest, sources: Sequence[str]) -> list[LedgerEntry]:
    """Return entries that say what happened, without a digest, so that any later run processes these sources."""
    # No file has a size or mtime of -1, so the next run does not take it for unchanged.
    lost = LedgerEntry(
        "", "", "", -1, -1, "error", "write", "JobDamaged", "its rows were damaged after they were written"
    )
    wanted, attempts = set(sources), dict.fromkeys(sources, 1)
    for row in ledger_entries(directory, manifest, columns=["uri", "attempts"]):
        if row["uri"] in wanted:
            attempts[row["uri"]] = row["attempts"]
    return [replace(lost, uri=uri, attempts=count) for uri, count in attempts.items()]


def _process_again(
    directory: str | Path,
    task: Task | None,
    sources: list[str],
    workers: int | None,
    hosts: Sequence[str],
) -> Report | None:
    if task is None:
        log.warning(
            "%d sources are marked; run the program that made %s to process them again", len(sources), directory
        )
        return None
    try:
        return run(task, sources, directory, options=RunOptions(workers=workers, hosts=hosts, from_ledger=True))
    except FileNotFoundError:  # none of these sources exists any more
        return None


def _restore_task(directory: Path, manifest: Manifest, tables: tuple[Spec, ...]) -> Task | None:
    """Restore the task of a directory and check that its results are the same; None for a task of another program."""
    kind = task_classes().get(str(manifest.fingerprint.get("task")))
    if kind is None:
        return None
    settings = upgrade_settings(manifest.fingerprint)
    try:
        task = kind.from_settings(settings, tables)
        _check_models(task, settings)
        # JSON turns tuples into lists, as in the stored settings.
        now = json.loads(json.dumps({"task": task.name} | task.settings()))
    except PerceptsError as error:
        raise JobError(f"{_describe_refusal(directory)}: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise JobDamaged(
            f"{_describe_refusal(directory)}: its settings are not those of {settings['task']}: {error!r}"
        ) from error
    if changed := settings_differences(settings, now):
        raise JobError(
            f"{_describe_refusal(directory)}: its results can no longer be made as they were "
            f"({'; '.join(changed[:4])}); process its sources again into another directory"
        )
    return task


def _check_models(task: Task, settings: Mapping[str, Any]) -> None:
    """Raise the error that the first source would meet: absent weights or extras, or a model that cannot run."""
    known = list_models()
    for table in task.specs:
        fetch_weights(table.weights or (find(table.name).weights if table.name in known else ()))
        if table.target:
            load_encoder(table)
    if settings.get("vad") == "silero":
        fetch_weights(["silero"])
    task.validate()
    with keep_stdout_clean():
        rehearse(task)  # a model may load and still fail on every item, and by then the rows would be gone


def _describe_refusal(directory: Path) -> str:
    return f"{directory} was not repaired, and nothing was removed from it"


# A manifest that is lost


def _read_or_rebuild_manifest(directory: Path) -> Manifest:
    """Read the manifest, or rebuild it if it is lost or cannot be read."""
    try:
        return Manifest.read(directory)
    except JobTooNew:  # it is not damaged, only newer than this release
        raise
    except JobError as error:
        log.warning("%s: its manifest is rebuilt from its parts: %s", directory, error)
    manifest = _rebuild_manifest(directory)
    if is_file(directory / MANIFEST):
        kept = set_aside_file(directory / MANIFEST)
        log.warning("%s: the manifest that cannot be read was renamed to %s", directory, kept.name)
    manifest.write(directory)
    return manifest


def _rebuild_manifest(directory: Path) -> Manifest:
    """Rebuild the manifest from the parts that can be read."""
    # Parts that a killed run left count, too; rows that appear twice because of them are found as damage later.
    about: dict[str, Any] | None = None
    parts: dict[str, Part] = {}
    for path in sorted((directory / "ledger").glob("part-*.parquet")):
        if (info := _describe_file(directory, path)) is not None:
            about = json.loads((pq.read_schema(path).metadata or {}).get(ABOUT, b"null")) or about
            parts[path.name] = Part(_part_number(path), {}, info)
    if about is None:
        raise JobDamaged(f"{directory}: {MANIFEST} is lost, and no part of the ledger says what the settings were")
    try:
        fingerprint, models = check_settings(about)
    except ValueError as error:
        raise JobDamaged(f"{directory}: {MANIFEST} is lost, and in the ledger it says: {error}") from error
    except JobTooNew as error:
        raise JobTooNew(f"{directory}: {error}") from error
    for model in models:
        for path in sorted((directory / "data" / safe_name(model)).glob("part-*.parquet")):
            if (info := _describe_file(directory, path)) is not None:
                part = parts.get(path.name, Part(_part_number(path), {}))
                parts[path.name] = replace(part, data={**part.data, model: info})
    last = max(part.number for part in parts.values())
    ordered = sorted(parts.values(), key=lambda part: part.number)
    return Manifest(fingerprint, models, ordered, next_part=last + 1)


def _describe_file(directory: Path, path: Path) -> PartInfo | None:
    """Describe a file as it is now; return None if it is no intact parquet file, by its page checksums."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            rows = sum(len(batch) for batch in file.iter_batches())
    except (OSError, ValueError):  # Arrow raises both
        return None
    data = path.read_bytes()
    return PartInfo(path.relative_to(directory).as_posix(), rows, len(data), hashlib.sha256(data).hexdigest())


def _part_number(path: Path) -> int:
    return int(path.stem.removeprefix("part-"))
