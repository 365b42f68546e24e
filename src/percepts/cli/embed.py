"""`percepts embed`: files and folders in, a job directory of vectors out."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ._print import print_json, printable, shown_path, span
from ._progress import Mode, progress

if TYPE_CHECKING:
    from ..jobs.progress import Report

Format = StrEnum("Format", ["parquet", "npz", "jsonl"])  # Typer takes no list of Literal
FAILED = 3
INTERRUPTED = 130


def embed(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The job directory; made where it is not there.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES",
            help="Pictures, recordings, films, folders of them, URLs of a --host. None with --retry-failed.",
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="An encoder, may be given several times; `percepts models` lists them, and a hub id or a checkpoint's "
            "folder is one too. "
            "[default: conse for pictures and films, melstats for sound]",
        ),
    ] = None,
    fps: Annotated[
        float, typer.Option(min=0.001, metavar="N", help="Frames looked at in each second of a film.")
    ] = 1.0,
    hop: Annotated[
        float | None,
        typer.Option(
            min=0.001, metavar="SECONDS", help="Seconds from one window of sound to the next. [default: one window]"
        ),
    ] = None,
    tail: Annotated[
        Literal["pad", "keep", "drop"], typer.Option(help="What becomes of the last, shorter window of sound.")
    ] = "pad",
    precision: Annotated[
        Literal["float32", "int8", "int8-unchecked", "bfloat16"],
        typer.Option(help="Of checkpoints of the hub. int8: on a CPU, once it was found near float32."),
    ] = "float32",
    exact: Annotated[bool, typer.Option("--exact", help="Decode large JPEGs at full size, which is slower.")] = False,
    formats: Annotated[
        list[Format] | None,
        typer.Option(
            "--format",
            metavar="parquet|npz|jsonl",
            help="Written beside parquet; may be given several times. [default: parquet]",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Processes that decode; 0: none but this one. [default: one per core]"),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Items through the model at a time.")] = 32,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try those again that failed before.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Throw away what the directory holds.")] = False,
    hosts: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME", help="A host whose URLs may be fetched; may be given several times."),
    ] = None,
    show: Annotated[
        Mode, typer.Option("--progress", help="On stderr: a bar on a terminal and lines elsewhere, or as said.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Embed pictures, recordings and films into a directory of vectors.

    Run it again to go on after an interruption or to add sources: what is done is not done twice.

    percepts embed photos/ talk.flac film.mp4 -o vectors/
    """
    if not inputs and not retry_failed:
        raise typer.BadParameter("expected at least one file or folder", param_hint="FILES")
    from ..jobs.run import embed as run

    with progress(show) as on_progress:
        report = run(
            inputs or [],
            output,
            models=tuple(models or ()),
            fps=fps,
            hop=hop,
            tail=tail,
            exact=exact,
            precision=precision,
            formats=tuple(formats or ("parquet",)),
            workers=workers,
            batch_size=batch_size,
            retry_failed=retry_failed,
            overwrite=overwrite,
            hosts=tuple(hosts or ()),
            on_progress=on_progress,
        )
    if as_json:
        print_json(_plain(report))
    else:
        _tell(report)
    if code := exit_code(report):
        raise typer.Exit(code)


def exit_code(report: Report) -> int:
    """0 all is well, 3 some failed now or before, 130 it was interrupted."""
    return INTERRUPTED if report.interrupted else FAILED if report.failed or report.failed_before else 0


def _plain(report: Report) -> dict[str, Any]:
    return asdict(report) | {"output": str(report.output)}


def _tell(report: Report) -> None:
    typer.echo(_sentence(report))
    tell_failures(report)
    if report.failed_before:
        typer.echo(f"{report.failed_before:,} failed in an earlier run and were left alone.")
    if report.failed or report.failed_before:
        typer.echo(f"To try what failed again: {_again('--retry-failed')}")
    if report.interrupted:
        typer.echo(f"Interrupted; what is finished is kept. To go on: {_again()}")


def tell_failures(report: Report) -> None:
    """Which sources failed, at which stage, why: the first few, and where the others are."""
    if report.failures:
        typer.secho(f"{report.failed:,} failed:", fg=typer.colors.RED)
    for entry in report.failures:
        typer.echo(f"  {shown_path(entry.uri)}  [{entry.stage}] {entry.error}: {printable(entry.message)}")
    if report.failed > len(report.failures):
        typer.echo(f"  … and {report.failed - len(report.failures):,} more, in {report.output}/ledger")


def _sentence(report: Report) -> str:
    counts = [f"{report.done:,} {'source' if report.done == 1 else 'sources'} embedded"]
    for count, word in ((report.unchanged, "already there"), (report.skipped, "skipped"), (report.failed, "failed")):
        if count:
            counts.append(f"{count:,} {word}")
    return f"{', '.join(counts)}: {report.rows:,} vectors in {report.output} ({span(report.seconds)})"


def _again(*extra: str) -> str:
    """This very command line, `--overwrite` left out: it would throw away what was done."""
    kept = [word for word in sys.argv[1:] if word not in {"--overwrite", "--retry-failed"}]
    return shlex.join(["percepts", *kept, *extra])
