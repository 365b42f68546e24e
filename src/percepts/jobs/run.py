"""Sources in, a job directory out: what a task says of all that is good, a ledger entry for everything."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..media.fetch import Fetcher
from ..media.limits import resolve_max_seconds
from ..stores.remote import display_name, is_remote, locate_directory, remote_url
from ..support.deprecated import accept_old_arguments
from ..support.files import remove_file, write_file
from ..tasks.base import BatchedTask, Task
from ..tasks.embed import OLD_WHOLE, EmbedTask, Rows
from ..timeline.segments import SubtitleLayout
from ..windows import Tail
from .batching import Batcher
from .loop import EventSource, JobLoop, batch_runner, watch_sources
from .merge import shard_directory
from .progress import Progress, Report, RunStats
from .rehearsal import rehearse
from .sources.expand import find_named_places
from .sources.gate import Gate
from .sources.walk import check_inputs, fingerprint_name
from .sources.work_items import SourceQueue
from .storage.directory import JobDirectory
from .storage.formats import check_formats, write_formats
from .storage.owned_files import SHARDS, STALLED, STATS, refuse_link
from .workers.pool import WorkerPool, killed_entry
from .workers.signals import stop_on_signals
from .workers.watchdog import Watchdog, read_stalled
from .workers.worker import SourceProcessor

if TYPE_CHECKING:
    from .workers.ray_pool import Cluster

BATCH = 32


@accept_old_arguments(whole=OLD_WHOLE)
def embed(
    inputs: Iterable[str | Path] | str | Path,
    output: str | Path,
    *,
    models: Sequence[str] = (),
    fps: float = 1.0,
    hop: float | None = None,
    tail: Tail = "pad",
    exact: bool = False,
    rows: Rows = "window",
    precision: str = "float32",
    runtime: str = "auto",
    formats: Sequence[str] = ("parquet",),
    workers: int | None = None,
    batch_size: int = BATCH,
    hosts: Sequence[str] = (),
    retry_failed: bool = False,
    overwrite: bool = False,
    shard: tuple[int, int] | None = None,
    cluster: Cluster | None = None,
    max_seconds: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Embed files and folders into a job directory; call it again to go on after a kill, or with more inputs.

    Args:
        inputs: paths of files and folders; URLs where `hosts` allows them. With `retry_failed` it may be empty, and
            means the failed sources of the ledger.
        output: the job directory.
        models: names of encoders; none: "conse" for pictures and film frames, "melstats" for sound.
        fps: frames a second taken from films.
        hop: seconds from one window of sound to the next; None: one window's length.
        tail: what becomes of the last, shorter window: "pad", "keep" or "drop".
        exact: decode large JPEGs at full size.
        rows: "window": a row for each window or frame; "source": one row for each source and model, the mean of its
            windows, each weighted by its duration.
        precision: of checkpoints of the hub: "float32", "int8" on a CPU, "bfloat16" on a GPU.
        runtime: that runs the encoders: "auto", "torch", "onnx", "openvino", "compile".
        formats: "parquet" always; also "npz" (one file a source) and "jsonl".
        workers: decode processes; None: one a core; 0: decode in this process (a codec that crashes takes it down).
        batch_size: clips per call of the encoder.
        hosts: names of hosts that URLs may be fetched from.
        retry_failed: do the sources with an error in the ledger again.
        overwrite: forget what the directory holds.
        shard: (i, n): the i-th of n shares of the inputs alone; see `percepts.jobs.merge.merge`.
        cluster: where actors of Ray do the work, a `percepts.jobs.workers.ray_pool.Cluster`; None: here.
        max_seconds: that a source may last; None: 48 hours, and less for a small file (`percepts.media.limit_seconds`).
        on_progress: called about twice a second, in this thread.

    Raises:
        UnknownModel: no encoder of that name.
        FileNotFoundError, SettingsDiffer, JobLocked, JobDamaged: as `run`.

    Returns:
        What this run did. A source that fails does not raise: it is in `failures` and in the ledger.
    """
    task = EmbedTask.create(
        models, fps=fps, hop=hop, tail=tail, exact=exact, rows=rows, precision=precision, runtime=runtime
    )
    return run(
        task,
        inputs,
        output,
        formats=formats,
        workers=workers,
        batch_size=batch_size,
        hosts=hosts,
        retry_failed=retry_failed,
        overwrite=overwrite,
        shard=shard,
        cluster=cluster,
        max_seconds=max_seconds,
        on_progress=on_progress,
    )


def run(
    task: Task,
    inputs: Iterable[str | Path] | str | Path,
    output: str | Path,
    *,
    formats: Sequence[str] = ("parquet",),
    workers: int | None = None,
    batch_size: int = BATCH,
    hosts: Sequence[str] = (),
    lines: SubtitleLayout | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    shard: tuple[int, int] | None = None,
    cluster: Cluster | None = None,
    max_seconds: float | None = None,
    from_ledger: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Carry out any task over files and folders into a job directory; call it again to go on, or with more inputs.

    Args:
        task: of one of the two kinds in `percepts.tasks.base`.
        inputs: paths of files and folders; URLs where `hosts` allows them. With `retry_failed` it may be empty, and
            means the failed sources of the ledger.
        output: the job directory, or the URL of one in an object store (s3://, gs://, …).
        formats: "parquet" always; beside it "jsonl", "npz" (vectors, a file a source), and for labels and text, a file
            a source: "txt", "srt", "vtt", "tsv", "json", "rttm".
        workers: processes; None: one a core that decodes, or one alone that takes sources whole; 0: all in this
            process (a codec that crashes takes it down).
        batch_size: clips per call of the model.
        hosts: names of hosts that URLs may be fetched from.
        lines: how subtitles stand on the screen; given, those that are there already are written again.
        retry_failed: do the sources with an error in the ledger again.
        overwrite: forget what the directory holds.
        shard: (i, n): do the i-th of n shares of the inputs, 1 to n, into `output`/shards; `merge` puts them together.
        cluster: where actors of Ray do the work; None: here.
        max_seconds: that a source may last; None: 48 hours, and less for a small file (`percepts.media.limit_seconds`).
        from_ledger: the inputs are sources of an earlier run, and nobody has named them: they open no object store and
            no further file, unless `hosts` allows it.
        on_progress: called about twice a second, in this thread.

    Raises:
        FileNotFoundError: none of the inputs exists.
        OptionsError: the model cannot do what is asked of it; no directory is made.
        SettingsDiffer: the directory was made with other settings; the message names them.
        JobLocked: another run is writing there.
        JobDamaged: files of the directory are missing or cut.

    Returns:
        What this run did. A source that fails does not raise: it is in `failures` and in the ledger.
    """
    wanted = _check_named(inputs, may_be_empty=retry_failed)
    formats = check_formats(formats, task.specs)
    max_seconds = resolve_max_seconds(max_seconds)
    task.validate()
    place = display_name(_shard_place(output, *shard) if shard else output)
    output, remote = locate_directory(place)
    tally = RunStats(on_progress)
    settings = {"task": task.name} | task.settings()
    with (
        stop_on_signals() as stop,
        JobDirectory(output, settings, task.specs, overwrite=overwrite, remote=remote) as directory,
    ):
        task = task.with_runtimes(directory.runtimes())
        directory.used_graphs = task.graphs_used
        hung = read_stalled(output)
        if len(hung) == 1:  # at nothing but this one
            directory.commit(
                [], [killed_entry(hung[0], "EncoderHung", "the model never came back from it")], forget=hung
            )
        failed = directory.failures() if retry_failed else []
        orders = SourceQueue(
            wanted or failed,
            output,
            known=directory.load_known_sources(),
            retry={fingerprint_name(uri) for uri in failed},
            tally=tally,
            shard=shard,
            stores=bool(wanted) and not from_ledger,
        )
        perform = SourceProcessor(
            task, _make_fetcher(hosts), max_seconds, find_named_places([] if from_ledger else wanted, hosts)
        )
        gate = Gate(iter(orders))
        crew: EventSource
        if cluster is None:
            crew = WorkerPool(perform, iter(gate), workers)
        else:
            crew = cluster.start_workers(perform, iter(orders), workers, batch_size)
        try:
            with Watchdog(output) as watchdog:
                if cluster is None and gate.reached(stop, tally):
                    _rehearse(task, watchdog)
                gate.open()
                batcher = Batcher(batch_runner(task), batch_size, watch_sources(watchdog, orders))
                JobLoop(task, directory, orders, tally, batcher, frozenset(hung)).run_until_done(crew, stop)
        finally:
            gate.close()
            crew.close()
        if not stop.is_set():
            remove_file(output / STALLED)
            write_formats(directory.formats, output, formats, lines)
        report = tally.report(output, place, interrupted=stop.is_set())
        _write_stats(report)
        if remote:
            remote.push_other_files()
    return report


def _rehearse(task: Task, watchdog: Watchdog) -> None:
    """The models that run in this process; a worker that runs one rehearses it there."""
    if isinstance(task, BatchedTask):
        with watchdog.watch_batch(task.name, ()), _stdout_to_stderr():
            rehearse(task)


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Keep what C libraries print while they prepare a made-up item out of the job's answer, as workers do."""
    try:
        sys.stdout.flush()
        before = os.dup(1)
        os.dup2(2, 1)
    except (OSError, ValueError, AttributeError):  # a process without them prints nothing
        yield
        return
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


def _shard_place(output: str | Path, number: int, count: int) -> str | Path:
    """Where a share lies; `shard_directory` checks that there is such a share."""
    if url := remote_url(output):
        return f"{url.rstrip('/')}/{shard_directory(Path(), number, count).as_posix()}"
    refuse_link(Path(output, SHARDS))
    return shard_directory(Path(output), number, count)


def _check_named(inputs: Iterable[str | Path] | str | Path, *, may_be_empty: bool) -> list[str]:
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    return check_inputs(named) if named or not may_be_empty else []


def _make_fetcher(hosts: Sequence[str]) -> Fetcher | None:
    names = tuple(host for host in hosts if not is_remote(host))
    return Fetcher(names) if names else None


def _write_stats(report: Report) -> None:
    write_file(report.output / STATS, json.dumps(asdict(report), indent=1, default=str))
