"""Define the options of commands that run a job, run it, and print its report."""

from __future__ import annotations

import inspect
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ..support.formats import FORMATS, VECTOR_FORMATS, Format
from .output import escape_text, format_clock, format_count, format_duration, print_json, shorten_path
from .progress import Mode, show_job_progress

if TYPE_CHECKING:
    from ..jobs.options import RunOptions
    from ..jobs.progress import Report
    from ..jobs.workers.ray_pool import Cluster
    from ..tasks.base import Task
    from ..timeline.segments import SubtitleLayout
    from ..types import Record

FAILED = 3  # 2 is taken: click exits with it for wrong usage
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports a program that Ctrl-C ended

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILES",
        help="Images, audio and video files, folders of them, glob patterns, s3:// and similar addresses, URLs of a "
        "--host; lists of file names (.csv, .jsonl, .parquet, or - for standard input); archives and tables of files "
        "(.tar, .parquet, a saved dataset). Optional with --retry-failed.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="DIR", help="Job directory, or its s3:// or similar address; created if missing."
    ),
]


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The options of every job, in the order of `--help`; `with_job_options` adds them to a command."""

    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMATS",
            help="Formats to write beside parquet, separated by commas: jsonl; for vectors "
            f"{', '.join(VECTOR_FORMATS)}; for labels and text {', '.join(FORMATS)} (one file per input file).",
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Number of worker processes; 0 decodes in this process."),
    ] = None
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Items per model call.")] = 32
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also retry files that failed before.")] = False
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard", metavar="I/N", help="Process shard I of N; `percepts merge` combines the shards afterwards."
        ),
    ] = None
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster", metavar="ADDRESS", help="Ray cluster to run on: local, auto, HOST:6379 or ray://HOST:10001."
        ),
    ] = None
    actors: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Number of Ray actors, with --cluster. [default: one per GPU, or one per CPU]"
        ),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Delete the results that the directory holds, and start again.")
    ] = False
    hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="NAME",
            help="Host whose URLs may be fetched, or an s3://BUCKET/FOLDER that lists may name; repeatable.",
        ),
    ] = None
    show: Annotated[
        Mode, typer.Option("--progress", help="How progress is shown on stderr; auto: a bar on a terminal, else lines.")
    ] = "auto"
    as_json: Annotated[bool, typer.Option("--json", help="Print the report or the result as JSON.")] = False

    @property
    def chosen_formats(self) -> tuple[str, ...]:
        """Names of the requested formats; parquet where none is given."""
        return tuple(name.strip() for text in self.formats or ["parquet"] for name in text.split(",") if name.strip())


def with_job_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a command that is an option dataclass by the options in it, so that Typer sees them.

    A parameter of the command itself takes the place of an option of the same name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    # `batch_size` of `transcribe`, for one, has a default and a help text of its own.
    own = [name for name in inspect.signature(command).parameters if name not in groups]
    options = {group: [f.name for f in fields(hint) if f.name not in own] for group, hint in groups.items()}

    @wraps(command)
    def run_command(**given: Any) -> None:
        made = {name: hint(**{option: given.pop(option) for option in options[name]}) for name, hint in groups.items()}
        command(**given, **made)

    parameters: list[inspect.Parameter] = []
    for name in inspect.signature(command).parameters:  # in the order in which they are written
        parameters += (
            _option_parameters(groups[name], options[name]) if name in groups else _option_parameters(command, [name])
        )
    # Typer reads the options from the signature, and `wraps` alone would show that of the command.
    run_command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run_command


def _option_parameters(of: Callable[..., Any], names: Sequence[str]) -> list[inspect.Parameter]:
    """Return the named parameters as keyword-only ones, with their annotations resolved."""
    hints, found = get_type_hints(of, include_extras=True), inspect.signature(of).parameters
    # Resolved, since with postponed annotations they are text; keyword-only, since an option with a default may come
    # before one without.
    return [found[name].replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]) for name in names]


def single_file(inputs: Sequence[str] | None, job: JobOptions, allowed: Sequence[Format]) -> tuple[str, Format]:
    """Return the one file and the one format that a command without `-o` writes to stdout.

    Args:
        inputs: the files given.
        job: the job options, for the formats given.
        allowed: the formats that the command can write; the first is the default.
    """
    if not inputs:
        raise typer.BadParameter("expected a file", param_hint="FILES")
    formats = job.chosen_formats if job.formats else allowed[:1]
    unknown = [name for name in formats if name not in allowed]
    if unknown:
        raise typer.BadParameter(f"expected one of {', '.join(allowed)}, got {unknown[0]!r}", param_hint="--format")
    # stdout holds one document: two joined would be no valid JSON, SRT or VTT.
    if len(inputs) > 1 or len(formats) > 1 or Path(inputs[0]).is_dir():
        raise typer.BadParameter("more than one file to write: give -o DIR", param_hint="--output")
    # The type checker needs a Format, and the option gives a str.
    return inputs[0], next(name for name in allowed if name == formats[0])


def run_job(
    task: Task,
    inputs: Sequence[str] | None,
    output: Path | None,
    job: JobOptions,
    *,
    done: str,
    row: str,
    lines: SubtitleLayout | None = None,
) -> None:
    """Run a task as a job, print its report, and exit with its code.

    Args:
        task: the task.
        inputs: files, folders and URLs.
        output: the job directory.
        job: the options that all jobs share.
        done: what was done to a file, for the sentence at the end: "embedded".
        row: what a row of the tables is, in the singular: "vector".
        lines: how subtitles stand on the screen.
    """
    if output is None:
        raise typer.BadParameter("expected a directory to write to", param_hint="--output")
    # The ledger knows the files that failed, so that retrying them needs no inputs.
    if not inputs and not job.retry_failed:
        raise typer.BadParameter("expected at least one file or folder", param_hint="FILES")
    # After the options are checked: wrong usage is answered before the slow imports.
    from ..jobs.run import run
    from ..jobs.storage.formats import check_formats

    try:
        # Here and not in the job alone, so that it is an error of usage.
        check_formats(job.chosen_formats, task.specs)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--format") from error
    # Ray prints messages about dead actors and nodes to stdout, whatever its logging options say.
    with show_job_progress(job.show) as on_progress, redirect_stdout(sys.stderr):
        options = replace(_run_options(job), lines=lines, on_progress=on_progress)
        report = run(task, _read_inputs(inputs or []), output, options=options)
    if job.as_json:
        print_json(asdict(report) | {"output": str(report.output)})  # JSON has no paths
    else:
        _print_report(report, done, row)
    if code := exit_code(report):
        raise typer.Exit(code)


def run_or_print(
    task: Task,
    inputs: Sequence[str] | None,
    output: Path | None,
    job: JobOptions,
    *,
    done: str,
    row: str,
    print_one: Callable[[Any], None] | None = None,
) -> None:
    """Print the result for one file where no directory is given, else run a job; see `run_job`.

    `print_one` prints what `task.run_one` returns; None: the text of its records with their times, or JSON.
    """
    # A folder holds several files even where one argument names it.
    if output is None and inputs and len(inputs) == 1 and not os.path.isdir(inputs[0]):
        result = task.run_one(inputs[0])
        if print_one is None:
            _print_records(result, as_json=job.as_json)
        else:
            print_one(result)
    else:
        run_job(task, inputs, output, job, done=done, row=row)


def _print_records(records: Sequence[Record], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [{"start": r.start, "stop": r.stop, "text": r.text, "score": r.score, "model": r.model} for r in records]
        )
        return
    for record in records:
        time = "" if record.kind == "image" else f"{format_clock(record.start)}  "  # an image has no times
        typer.echo(f"{time}{escape_text(record.text or '')}")


def _run_options(job: JobOptions) -> RunOptions:
    """Return the options of the command line as `percepts.jobs.run.run` takes them."""
    from ..jobs.options import RunOptions

    return RunOptions(
        formats=job.chosen_formats,
        workers=job.workers,
        batch_size=job.batch_size,
        retry_failed=job.retry_failed,
        overwrite=job.overwrite,
        hosts=tuple(job.hosts or ()),
        shard=_parse_shard(job.shard),
        cluster=_make_cluster(job),
    )


def _parse_shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, _, count = text.partition("/")
    # Not int() alone, which takes "+1", "1_0" and spaces.
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise typer.BadParameter(f"expected I/N, from 1/N to N/N, got {text!r}", param_hint="--shard")
    return int(number), int(count)


def _make_cluster(job: JobOptions) -> Cluster | None:
    if job.cluster is None:
        return None
    from ..jobs.workers.ray_pool import Cluster

    return Cluster(job.cluster, job.actors)


def _read_inputs(inputs: Sequence[str]) -> list[str]:
    """Return the inputs, with `-` replaced by the lines of standard input."""
    # Blank lines are left out: a list often ends with one.
    return [name for item in inputs for name in (sys.stdin.read().splitlines() if item == "-" else [item]) if name]


def exit_code(report: Report) -> int:
    """Return 130 for an interrupted run, 3 where files failed in this run or before, else 0."""
    # Interrupted comes first: it says that files are left, which may fail as well.
    return INTERRUPTED if report.interrupted else FAILED if report.failed or report.failed_before else 0


def print_failures(report: Report) -> None:
    """Print the first failed files with stage and reason, and where to find the others."""
    if report.failures:
        typer.secho(f"{report.failed:,} failed:", fg=typer.colors.RED)
    for entry in report.failures:
        typer.echo(f"  {shorten_path(entry.uri)}  [{entry.stage}] {entry.error}: {escape_text(entry.message)}")
    if report.failed > len(report.failures):
        typer.echo(f"  … and {report.failed - len(report.failures):,} more, listed in {report.place}/ledger")


def _print_report(report: Report, done: str, row: str) -> None:
    typer.echo(_report_sentence(report, done, row))
    print_failures(report)
    if report.failed_before:
        typer.echo(f"Not retried: {format_count(report.failed_before, 'file')} that failed in an earlier run.")
    if report.failed or report.failed_before:
        typer.echo(f"To retry the failed files: {_resume_command('--retry-failed')}")
    if report.interrupted:
        typer.echo(f"Interrupted; finished files are kept. To resume: {_resume_command()}")


def _report_sentence(report: Report, done: str, row: str) -> str:
    counts = [f"{format_count(report.done, 'file')} {done}"]
    for count, word in ((report.unchanged, "already done"), (report.skipped, "skipped"), (report.failed, "failed")):
        if count:
            counts.append(f"{count:,} {word}")
    rows = format_count(report.rows, f"new {row}")  # of this run: the directory may hold more
    return f"{', '.join(counts)}: {rows} in {report.place} ({format_duration(report.seconds)})"


def _resume_command(*extra: str) -> str:
    """Return this command line without `--overwrite`, which would delete the results so far."""
    # --retry-failed is added again where it is wanted, and only once.
    arguments = [word for word in sys.argv[1:] if word not in {"--overwrite", "--retry-failed"}]
    return shlex.join(["percepts", *arguments, *extra])  # quoted, to be pasted into a shell
