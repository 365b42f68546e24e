"""The shares of `--shard i/n` in, one job directory out: their files under new numbers, listed by one manifest."""

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
    """The job directory of one share; ValueError where there is no such share."""
    if not 1 <= number <= count:
        raise ValueError(f"expected a shard from 1/{count} to {count}/{count}, got {number}/{count}")
    return output / SHARDS / f"{number:05d}-of-{count:05d}"


def merge(output: str | Path) -> dict[str, int]:
    """Put what the shares in `output`/shards have committed into `output`; call it again when they have done more.

    Files are linked where the system can, copied elsewhere, and the manifest is replaced last. The rows are those of
    one run over all inputs. A source that is there already is replaced.

    Returns:
        The counts of the manifest.

    Raises:
        JobError: there are no shares, or they are of different jobs; the message names the setting.
        JobDamaged: a file of a share is missing or cut.
        JobLocked: a run is writing to `output`.
    """
    directory, remote = locate_directory(output)
    if remote:
        shares = [make_local_copy(share) for share in remote.list_jobs(SHARDS)]
    else:
        shares = sorted(path.parent for path in (directory / SHARDS).glob(f"*/{MANIFEST}"))
    if not shares:
        raise JobError(f"{output}: no shares in {SHARDS}/; make them with --shard 1/N to N/N")
    first = Manifest.read(shares[0])
    tables = tuple(read_specs(shares[0]).values())
    with JobDirectory(directory, first.fingerprint, tables, remote=remote) as job:
        there = {info.sha256 for part in job.manifest.parts for info in part.files}
        for share in shares:
            with JobDirectory(share, first.fingerprint, tuple(read_specs(share).values())) as other:  # checks its files
                if not {info.sha256 for part in other.manifest.parts for info in part.files} <= there:
                    job.adopt(share, other.manifest.parts, forget=_read_uris(other) & _read_uris(job))
        return dict(job.manifest.counts)


def _read_uris(job: JobDirectory) -> set[str]:
    return {row["uri"] for row in ledger_entries(job.path, job.manifest, columns=["uri"])}
