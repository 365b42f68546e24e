"""`percepts verify`: a job directory in, whether it holds what its manifest says out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import escape_text, format_count, print_json

if TYPE_CHECKING:
    from ..jobs.verify import VerifyReport

SHOWN = 20
"""Sources that are told of by name."""


def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A job directory.")],
    mend: Annotated[
        bool, typer.Option("--repair", help="Take out what is damaged, and do exactly those sources again.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=0, metavar="N", help="With --repair: processes at work.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Prove that a job directory is whole, or say what is wrong.

    Looks at digests, counts, ids, times and dimensions, and for vectors that are not finite and files that the
    manifest does not list.

    percepts verify vectors/

    percepts verify vectors/ --repair
    """
    from ..stores.remote import display_name

    verdict = _repair_directory(directory, workers) if mend else _print_verdict(directory)
    counts = dict(verdict.counts)
    if as_json:
        print_json({"ok": verdict.ok, "problems": list(verdict.problems), "counts": counts})
    else:
        for problem in verdict.problems:
            typer.secho(escape_text(problem), fg=typer.colors.RED)
        held = ", ".join(f"{count:,} {name}" for name, count in counts.items() if isinstance(count, int))
        state = "whole" if verdict.ok else format_count(len(verdict.problems), "problem")
        typer.echo(f"{display_name(directory)}: {state} ({held})")
        typer.echo("not looked at: index/ and other formats, which are copies that can be made again")
    if not verdict.ok:
        raise typer.Exit(1)


def _print_verdict(directory: Path) -> VerifyReport:
    from ..jobs.verify import verify as run

    return run(directory)


def _repair_directory(directory: Path, workers: int | None) -> VerifyReport:
    from ..jobs.repair import repair

    done = repair(directory, workers=workers)
    for file in done.files:
        typer.echo(f"taken out: {escape_text(file)}", err=True)
    for source in done.sources[:SHOWN]:
        typer.echo(f"{'done again' if done.report else 'to be done again'}: {escape_text(source)}", err=True)
    if len(done.sources) > SHOWN:
        typer.echo(f"… and {len(done.sources) - SHOWN:,} more sources", err=True)
    return done.verdict
