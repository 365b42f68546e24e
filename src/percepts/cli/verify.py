"""Define `percepts verify`, which checks a job directory and repairs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import escape_text, format_count, print_json

if TYPE_CHECKING:
    from ..jobs.verify import VerifyReport

SHOWN = 20
"""Most files to name."""


def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Job directory.")],
    mend: Annotated[
        bool, typer.Option("--repair", help="Remove what is damaged, and process exactly those files again.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Number of worker processes, with --repair.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check that a job directory is intact, and repair it if asked.

    Checks digests, counts, ids, times and dimensions, and looks for vectors that are not finite and for files that the
    manifest does not list.

    percepts verify vectors/

    percepts verify vectors/ --repair
    """
    from ..stores.remote import display_name

    # The verdict after the repair: 0 then means that the directory is intact now.
    report = _repair_directory(directory, workers) if mend else _verify_directory(directory)
    counts = dict(report.counts)
    if as_json:
        print_json({"ok": report.ok, "problems": list(report.problems), "counts": counts})
    else:
        for problem in report.problems:
            typer.secho(escape_text(problem), fg=typer.colors.RED)
        contents = ", ".join(f"{count:,} {name}" for name, count in counts.items() if isinstance(count, int))
        state = "intact" if report.ok else format_count(len(report.problems), "problem")
        typer.echo(f"{display_name(directory)}: {state} ({contents})")
        typer.echo("Not checked: index/ and the folders of other formats, which are copies and can be made again.")
    if not report.ok:
        raise typer.Exit(1)


def _verify_directory(directory: Path) -> VerifyReport:
    from ..jobs.verify import verify as run

    return run(directory)


def _repair_directory(directory: Path, workers: int | None) -> VerifyReport:
    from ..jobs.repair import repair

    repaired = repair(directory, workers=workers)
    for file in repaired.files:
        # To stderr: --json on stdout must stay JSON.
        typer.echo(f"removed: {escape_text(file)}", err=True)
    for source in repaired.sources[:SHOWN]:
        state = "processed again" if repaired.report else "to be processed again"
        typer.echo(f"{state}: {escape_text(source)}", err=True)
    if len(repaired.sources) > SHOWN:
        typer.echo(f"… and {len(repaired.sources) - SHOWN:,} more files", err=True)
    return repaired.verdict
