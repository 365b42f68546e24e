"""Run a task over many sources and write the results to a job directory that a later run can continue."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack, cast

from ..media.fetch import Fetcher
from ..media.limits import resolve_max_seconds
from ..stores.remote import display_name, is_remote, locate_directory, remote_url
from ..support.deprecated import accept_old_arguments
from ..support.files import remove_file, write_file
from ..tasks.base import BatchedTask, Task
from ..tasks.embed import OLD_WHOLE, EmbedTask
from .batching import Batcher
from .loop import EventSource, JobLoop, batch_runner, watch_sources
from .merge import shard_directory
from .options import EmbedArguments, JobArguments, RunArguments, RunOptions
from .progress import Report, RunStats
from .rehearsal import keep_stdout_clean, rehearse
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


@accept_old_arguments(whole=OLD_WHOLE)
def embed(
    inputs: Iterable[str | Path] | str | Path,
    output: str | Path,
    *,
    models: Sequence[str] = (),
    **options: Unpack[EmbedArguments],
) -> Report:
    """Embed files and folders into a job directory; call it again to continue after a kill, or with more inputs.

    Args:
        inputs: paths of files and folders; URLs where `hosts` allows them. With `retry_failed` it may be empty, and
            means the sources with an error in the ledger.
        output: the job directory.
        models: names of encoders; none: "conse" for images and video frames, "melstats" for audio.
        options: any of the following.

    Keyword Args:
        fps (float): frames per second taken from videos. Default 1.0.
        hop (float | None): seconds from one audio window to the next; None: the length of one window.
        tail (Tail): what happens to the last, shorter window: "pad" (the default), "keep" or "drop".
        exact (bool): decode large JPEGs at full size.
        rows (Rows): "window" (the default): one row for each window or frame; "source": one row for each source and
            model, the mean of its windows, weighted by their duration.
        precision (str): precision of Hugging Face models: "float32", "int8" on a CPU, "bfloat16" on a GPU.
        runtime (str): the runtime of the encoders: "auto", "torch", "onnx", "openvino", "compile".
        formats (Sequence[str]): "parquet" always; also "npz" (one file for each source), "jsonl" and others.
        workers (int | None): decode processes; None: one for each core; 0: decode in this process, which a codec that
            crashes then ends.
        batch_size (int): clips for each call of the encoder. Default 32.
        hosts (Sequence[str]): names of hosts that URLs may be fetched from.
        retry_failed (bool): process the sources again that have an error in the ledger.
        overwrite (bool): remove the results that the directory holds, then start again.
        shard (tuple[int, int] | None): (i, n): process only the i-th of n shards of the inputs; see
            `percepts.jobs.merge.merge`.
        cluster (Cluster | None): a `percepts.jobs.workers.ray_pool.Cluster` whose Ray actors do the work.
        max_seconds (float | None): longest duration of a source; None: 48 hours, and less for a small file
            (`percepts.media.limit_seconds`).
        on_progress (Callable[[Progress], None] | None): called about twice a second, in this thread.

    Raises:
        UnknownModel: no encoder has that name.
        TypeError: an option has a name that is none of these.
        FileNotFoundError, SettingsDiffer, JobLocked, JobDamaged: as `run`.

    Returns:
        What this run did. A source that fails does not raise: it is in `failures` and in the ledger.

    >>> from percepts import embed
    >>> embed("photos/", "vectors/", models=["conse"], workers=2).done  # doctest: +SKIP
    120
    """
    if unknown := options.keys() - EmbedArguments.__annotations__.keys():
        raise TypeError(f"embed() got an unexpected keyword argument {min(unknown)!r}")
    run_names = JobArguments.__annotations__.keys()
    run_options: dict[str, Any] = {name: value for name, value in options.items() if name in run_names}
    task_options: dict[str, Any] = {name: value for name, value in options.items() if name not in run_names}
    return run(EmbedTask.create(models, **task_options), inputs, output, **cast(JobArguments, run_options))


def run(
    task: Task,
    inputs: Iterable[str | Path] | str | Path,
    output: str | Path,
    *,
    options: RunOptions | None = None,
    **changes: Unpack[RunArguments],
) -> Report:
    """Run a task over files and folders into a job directory; call it again to continue, or with more inputs.

    Args:
        task: of one of the two kinds in `percepts.tasks.base`.
        inputs: paths of files and folders; URLs where the option `hosts` allows them. With `retry_failed` it may be
            empty, and means the sources with an error in the ledger.
        output: the job directory, or the URL of one in an object store (s3://, gs://, …).
        options: how the job runs; None: the defaults of `RunOptions`.
        changes: fields of `RunOptions` that replace those of `options`: `run(task, "photos/", "out/", workers=0)`.

    Raises:
        FileNotFoundError: none of the inputs exists.
        OptionsError: the model cannot do what the task asks of it; no directory is made.
        SettingsDiffer: the directory was made with other settings; the message names them.
        JobLocked: another run is writing there.
        JobDamaged: files of the directory are missing or cut.
        WeightsError, MachineError: a model, or this machine, fails on every source; no source is marked for it.

    Returns:
        What this run did. A source that fails does not raise: it is in `failures` and in the ledger.
    """
    options = replace(options or RunOptions(), **changes)
    named = _check_named(inputs, may_be_empty=options.retry_failed)
    formats = check_formats(options.formats, task.specs)
    options = replace(options, formats=formats, max_seconds=resolve_max_seconds(options.max_seconds))
    task.validate()
    place = display_name(_shard_place(output, *options.shard) if options.shard else output)
    output, remote = locate_directory(place)
    stats = RunStats(options.on_progress)
    # Tasks of other programs may leave their name out of the settings.
    settings = {"task": task.name} | task.settings()
    with (
        stop_on_signals() as stop,
        JobDirectory(output, settings, task.specs, overwrite=options.overwrite, remote=remote) as directory,
    ):
        _process_sources(task, directory, named, options, stats, stop)
        if not stop.is_set():
            # An interrupted run keeps the list of sources at which it hung; the next run needs it.
            remove_file(output / STALLED)
            write_formats(directory.formats, output, formats, options.lines)
        report = stats.report(output, place, interrupted=stop.is_set())
        _write_stats(report)
        if remote:
            remote.push_other_files()
    return report


def _process_sources(
    task: Task,
    directory: JobDirectory,
    named: Sequence[str],
    options: RunOptions,
    stats: RunStats,
    stop: threading.Event,
) -> None:
    """Decode, encode and commit every source that the directory does not hold yet."""
    task = task.with_runtimes(directory.runtimes())
    directory.used_graphs = task.graphs_used
    stalled = _mark_stalled(directory)
    queue = _make_queue(directory, named, options, stats)
    # Sources out of a ledger were not named by the user, so they must not open folders or stores for each other.
    places = find_named_places([] if options.from_ledger else named, options.hosts)
    processor = SourceProcessor(task, _make_fetcher(options.hosts), options.max_seconds, places)
    gate = Gate(iter(queue))
    pool: EventSource
    if options.cluster is None:
        pool = WorkerPool(processor, iter(gate), options.workers)
    else:
        # Ray's actors rehearse the models themselves, so nothing has to wait at the gate here.
        pool = options.cluster.start_workers(processor, iter(queue), options.workers, options.batch_size)
    try:
        with Watchdog(directory.path) as watchdog:
            if options.cluster is None and gate.wait_for_item(stop, stats):
                _rehearse(task, watchdog)
            gate.open()
            batcher = Batcher(batch_runner(task), options.batch_size, watch_sources(watchdog, queue))
            JobLoop(task, directory, queue, stats, batcher, frozenset(stalled)).run_until_done(pool, stop)
    finally:
        # The gate first: the thread of the pool may be waiting at it.
        gate.close()
        pool.close()


def _mark_stalled(directory: JobDirectory) -> list[str]:
    """Return the sources of the batch at which an earlier run hung, and mark the source if it was alone in it."""
    stalled = read_stalled(directory.path)
    if len(stalled) == 1:
        entry = killed_entry(stalled[0], "EncoderHung", "the model never returned from it")
        directory.commit([], [entry], forget=stalled)
    return stalled


def _make_queue(directory: JobDirectory, named: Sequence[str], options: RunOptions, stats: RunStats) -> SourceQueue:
    failed = directory.failures() if options.retry_failed else []
    return SourceQueue(
        named or failed,
        directory.path,
        known=directory.load_known_sources(),
        retry={fingerprint_name(uri) for uri in failed},
        stats=stats,
        shard=options.shard,
        stores=bool(named) and not options.from_ledger,
    )


def _rehearse(task: Task, watchdog: Watchdog) -> None:
    """Try the models that run in this process; a worker that runs a model rehearses it itself."""
    if isinstance(task, BatchedTask):
        with watchdog.watch_batch(task.name, ()), keep_stdout_clean():
            rehearse(task)


def _shard_place(output: str | Path, number: int, count: int) -> str | Path:
    """Return the directory of a shard; `shard_directory` checks that there is such a shard."""
    if url := remote_url(output):
        return f"{url.rstrip('/')}/{shard_directory(Path(), number, count).as_posix()}"
    refuse_link(Path(output, SHARDS))
    return shard_directory(Path(output), number, count)


def _check_named(inputs: Iterable[str | Path] | str | Path, *, may_be_empty: bool) -> list[str]:
    """Return the inputs as a list of names; raise FileNotFoundError if none of them exists."""
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    return check_inputs(named) if named or not may_be_empty else []


def _make_fetcher(hosts: Sequence[str]) -> Fetcher | None:
    names = tuple(host for host in hosts if not is_remote(host))
    return Fetcher(names) if names else None


def _write_stats(report: Report) -> None:
    write_file(report.output / STATS, json.dumps(asdict(report), indent=1, default=str))
