"""What every command that runs a job shares: its options, how it runs, what it says, how it ends."""

from __future__ import annotations

import inspect
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from .output import escape_text, format_clock, format_count, format_duration, print_json, shorten_path
from .progress import Mode, show_job_progress

if TYPE_CHECKING:
    from ..jobs.progress import Report
    from ..jobs.workers.ray_pool import Cluster
    from ..tasks.base import Task
    from ..timeline.segments import SubtitleLayout
    from ..types import Record

FAILED = 3
INTERRUPTED = 130

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILES",
        help="Pictures, recordings, films, folders of them, patterns, s3:// and such, URLs of a --host; lists of names "
        "(.csv, .jsonl, .parquet, - for standard input); what holds many (.tar, .parquet, a saved dataset). None with "
        "--retry-failed.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="The job directory, or its s3:// and such; made if not there."),
]


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The options of every job, in the order of `--help`; `with_job_options` gives them to a command."""

    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMATS",
            help="Written beside parquet, between commas: jsonl; of vectors npz, clip-retrieval, webdataset, lance; of "
            "labels and text txt, srt, vtt, tsv, json, rttm, a file for each source.",
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Processes at work on files; 0: none but this one."),
    ] = None
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Items through the model at a time.")] = 32
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try those again that failed before.")] = False
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard", metavar="I/N", help="Do the I-th of N shares; then `percepts merge` puts them together."
        ),
    ] = None
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="ADDRESS", help="Work on Ray: local, auto, HOST:6379, or ray://HOST:10001."),
    ] = None
    actors: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="With --cluster. [default: one for each GPU, or for each CPU]"),
    ] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Throw away what the directory holds.")] = False
    hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="NAME",
            help="A host whose URLs may be fetched, or s3://BUCKET/FOLDER that lists may name; may be repeated.",
        ),
    ] = None
    show: Annotated[
        Mode, typer.Option("--progress", help="On stderr: a bar on a terminal and lines elsewhere, or as said.")
    ] = "auto"
    as_json: Annotated[bool, typer.Option("--json", help="Print the report, or the result, as JSON.")] = False

    @property
    def chosen_formats(self) -> tuple[str, ...]:
        """The formats asked for; parquet where none is."""
        return tuple(name.strip() for text in self.formats or ["parquet"] for name in text.split(",") if name.strip())


def with_job_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a command that is a dataclass of options by the options it holds, for Typer to see.

    A parameter of the command itself takes the place of an option of the same name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    own = [name for name in inspect.signature(command).parameters if name not in groups]
    options = {group: [f.name for f in fields(hint) if f.name not in own] for group, hint in groups.items()}

    @wraps(command)
    def called(**given: Any) -> None:
        made = {name: hint(**{option: given.pop(option) for option in options[name]}) for name, hint in groups.items()}
        command(**given, **made)

    parameters: list[inspect.Parameter] = []
    for name in inspect.signature(command).parameters:  # in the order in which they are written
        parameters += (
            _option_parameters(groups[name], options[name]) if name in groups else _option_parameters(command, [name])
        )
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return called


def _option_parameters(of: Callable[..., Any], names: Sequence[str]) -> list[inspect.Parameter]:
    """By name only, with their annotations as objects."""
    hints, found = get_type_hints(of, include_extras=True), inspect.signature(of).parameters
    return [found[name].replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]) for name in names]


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
    """Run a task as a job, say what came of it, and leave with its exit code.

    Args:
        task: what to do.
        inputs: files, folders, URLs.
        output: the job directory.
        job: the options shared by all.
        done: what was done to a source, for the sentence at the end: "embedded".
        row: what the tables hold, in the singular: "vector".
        lines: how subtitles stand on the screen.
    """
    if output is None:
        raise typer.BadParameter("expected a directory to write to", param_hint="--output")
    if not inputs and not job.retry_failed:
        raise typer.BadParameter("expected at least one file or folder", param_hint="FILES")
    from ..jobs.run import run
    from ..jobs.storage.formats import check_formats

    try:
        check_formats(job.chosen_formats, task.specs)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--format") from error
    # what Ray tells of actors and nodes that die it prints to stdout, whatever it is told about logs
    with show_job_progress(job.show) as on_progress, redirect_stdout(sys.stderr):
        report = run(
            task,
            _read_inputs(inputs or []),
            output,
            formats=job.chosen_formats,
            workers=job.workers,
            batch_size=job.batch_size,
            retry_failed=job.retry_failed,
            overwrite=job.overwrite,
            hosts=tuple(job.hosts or ()),
            shard=_parse_shard(job.shard),
            cluster=_make_cluster(job),
            lines=lines,
            on_progress=on_progress,
        )
    if job.as_json:
        print_json(asdict(report) | {"output": str(report.output)})
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
        time = "" if record.kind == "image" else f"{format_clock(record.start)}  "
        typer.echo(f"{time}{escape_text(record.text or '')}")


def _parse_shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise typer.BadParameter(f"expected I/N, from 1/N to N/N, got {text!r}", param_hint="--shard")
    return int(number), int(count)


def _make_cluster(job: JobOptions) -> Cluster | None:
    if job.cluster is None:
        return None
    from ..jobs.workers.ray_pool import Cluster

    return Cluster(job.cluster, job.actors)


def _read_inputs(inputs: Sequence[str]) -> list[str]:
    """The inputs, `-` replaced by the names on standard input, one a line."""
    return [name for item in inputs for name in (sys.stdin.read().splitlines() if item == "-" else [item]) if name]


def exit_code(report: Report) -> int:
    """0 all is well, 3 some failed now or before, 130 it was interrupted."""
    return INTERRUPTED if report.interrupted else FAILED if report.failed or report.failed_before else 0


def print_failures(report: Report) -> None:
    """Which sources failed, at which stage, why: the first few, and where the others are."""
    if report.failures:
        typer.secho(f"{report.failed:,} failed:", fg=typer.colors.RED)
    for entry in report.failures:
        typer.echo(f"  {shorten_path(entry.uri)}  [{entry.stage}] {entry.error}: {escape_text(entry.message)}")
    if report.failed > len(report.failures):
        typer.echo(f"  … and {report.failed - len(report.failures):,} more, in {report.place}/ledger")


def _print_report(report: Report, done: str, row: str) -> None:
    typer.echo(_report_sentence(report, done, row))
    print_failures(report)
    if report.failed_before:
        left = "was" if report.failed_before == 1 else "were"
        typer.echo(f"{report.failed_before:,} failed in an earlier run and {left} left alone.")
    if report.failed or report.failed_before:
        typer.echo(f"To try what failed again: {_resume_command('--retry-failed')}")
    if report.interrupted:
        typer.echo(f"Interrupted; what is finished is kept. To go on: {_resume_command()}")


def _report_sentence(report: Report, done: str, row: str) -> str:
    counts = [f"{format_count(report.done, 'source')} {done}"]
    for count, word in ((report.unchanged, "already there"), (report.skipped, "skipped"), (report.failed, "failed")):
        if count:
            counts.append(f"{count:,} {word}")
    return (
        f"{', '.join(counts)}: {format_count(report.rows, row)} in {report.place} ({format_duration(report.seconds)})"
    )


def _resume_command(*extra: str) -> str:
    """This very command line, `--overwrite` left out: it would throw away what was done."""
    kept = [word for word in sys.argv[1:] if word not in {"--overwrite", "--retry-failed"}]
    return shlex.join(["percepts", *kept, *extra])
