"""Define the options of a run, shared by `embed`, `run`, the command line and Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from ..tasks.embed import CutKeywords, Rows

if TYPE_CHECKING:
    from ..timeline.segments import SubtitleLayout
    from .progress import Progress
    from .workers.ray_pool import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a job runs: where, with how many workers, and what it writes beside its tables.

    None of these changes a result, so none of them is in the fingerprint of a job directory.

    formats        "parquet" always; beside it "jsonl", "npz", "clip-retrieval", "webdataset" and "lance" for vectors,
                   and "txt", "srt", "vtt", "tsv", "json" and "rttm" for labels and text, one file for each source
    workers        processes; None: one for each core that decodes, or a single one if it also runs the model; 0: all
                   work happens in this process, which a codec that crashes then ends
    batch_size     clips for each call of the model
    hosts          names of the hosts that URLs may be fetched from, and roots of object stores that lists may name
    retry_failed   process the sources again that have an error in the ledger
    overwrite      remove the results that the directory holds, then start again
    shard          (i, n): process the i-th of n shards of the inputs, counted from 1, and write it to OUTPUT/shards;
                   `percepts.jobs.merge.merge` joins the shards
    cluster        the Ray cluster whose actors do the work; None: this machine does it
    max_seconds    longest duration of a source; None: 48 hours, and less for a small file
                   (`percepts.media.limit_seconds`)
    lines          layout of subtitles; if given, existing subtitles are written again
    from_ledger    the inputs come from the ledger of an earlier run and were not named by the user, so they may open
                   no object store and no further file, unless `hosts` allows it
    on_progress    called about twice a second, in the thread of the caller
    """

    formats: Sequence[str] = ("parquet",)
    workers: int | None = None
    batch_size: int = 32
    hosts: Sequence[str] = ()
    retry_failed: bool = False
    overwrite: bool = False
    shard: tuple[int, int] | None = None
    cluster: Cluster | None = None
    max_seconds: float | None = None
    lines: SubtitleLayout | None = None
    from_ledger: bool = False
    on_progress: Callable[[Progress], None] | None = None


class JobArguments(TypedDict, total=False):
    """The fields of `RunOptions` that every job takes as keyword arguments."""

    formats: Sequence[str]
    workers: int | None
    batch_size: int
    hosts: Sequence[str]
    retry_failed: bool
    overwrite: bool
    shard: tuple[int, int] | None
    cluster: Cluster | None
    max_seconds: float | None
    on_progress: Callable[[Progress], None] | None


class RunArguments(JobArguments, total=False):
    """The keyword arguments of `run`; `from_ledger` is none of them, since only `repair` may say so."""

    lines: SubtitleLayout | None


class EmbedArguments(JobArguments, CutKeywords, total=False):
    """The keyword arguments of `embed`: those of `percepts.tasks.embed.EmbedTask.create`, and those of a job."""

    rows: Rows
    precision: str
    runtime: str
