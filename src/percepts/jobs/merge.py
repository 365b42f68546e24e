"""Merge the shards that `--shard i/n` made into one job directory."""

from __future__ import annotations

from pathlib import Path

from ..errors import JobError
from ..stores.manifest import MANIFEST
from ..stores.parquet import read_specs
from ..stores.remote import locate_directory, make_local_copy
from .storage.directory import JobDirectory
from .storage.ledger import Manifest, ledger_entries
from .storage.owned_files import SHARDS


def shard_directory(output: Path, number: int, count: int) -> Path:
    """Return the job directory of a shard; raise ValueError if there is no such shard."""
    if not 1 <= number <= count:
        raise ValueError(f"expected a shard from 1/{count} to {count}/{count}, got {number}/{count}")
    return output / SHARDS / f"{number:05d}-of-{count:05d}"


def merge(output: str | Path) -> dict[str, int]:
    """Add what the shards in `output`/shards have committed to `output`; call it again when they have done more.

    Files are linked if the file system can, else copied, and the manifest is replaced last. The result has the rows of
    one run over all inputs. A source that `output` holds already is replaced.

    Returns:
        The counts of the manifest.

    Raises:
        JobError: there are no shards, or their settings differ; the message names the setting.
        JobDamaged: a file of a shard is missing or cut.
        JobLocked: a run is writing to `output`.
    """
    directory, remote = locate_directory(output)
    if remote:
        shards = [make_local_copy(shard) for shard in remote.list_jobs(SHARDS)]
    else:
        shards = sorted(path.parent for path in (directory / SHARDS).glob(f"*/{MANIFEST}"))
    if not shards:
        raise JobError(f"{output} holds no shards in {SHARDS}/; make them with --shard 1/N to N/N")
    # The settings of one shard stand for all: opening another one with these settings fails if they differ.
    first = Manifest.read(shards[0])
    tables = tuple(read_specs(shards[0]).values())
    with JobDirectory(directory, first.fingerprint, tables, remote=remote) as job:
        # A part keeps its bytes when it is merged, so its digest shows that an earlier merge took it over.
        present = {info.sha256 for part in job.manifest.parts for info in part.files}
        for shard in shards:
            with JobDirectory(
                shard, first.fingerprint, tuple(read_specs(shard).values())
            ) as other:  # which checks its files
                if not {info.sha256 for part in other.manifest.parts for info in part.files} <= present:
                    job.adopt(shard, other.manifest.parts, forget=_read_uris(other) & _read_uris(job))
        return dict(job.manifest.counts)


def _read_uris(job: JobDirectory) -> set[str]:
    return {row["uri"] for row in ledger_entries(job.path, job.manifest, columns=["uri"])}
