"""`percepts verify`: a job directory in, whether it holds what its manifest says out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._print import number, print_json, printable

if TYPE_CHECKING:
    from ..jobs.verify import Verdict

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
    from ..stores.remote import place_of

    verdict = _mended(directory, workers) if mend else _found(directory)
    counts = dict(verdict.counts)
    if as_json:
        print_json({"ok": verdict.ok, "problems": list(verdict.problems), "counts": counts})
    else:
        for problem in verdict.problems:
            typer.secho(printable(problem), fg=typer.colors.RED)
        held = ", ".join(f"{count:,} {name}" for name, count in counts.items() if isinstance(count, int))
        state = "whole" if verdict.ok else number(len(verdict.problems), "problem")
        typer.echo(f"{place_of(directory)}: {state} ({held})")
        typer.echo("not looked at: index/ and other formats, which are copies that can be made again")
    if not verdict.ok:
        raise typer.Exit(1)


def _found(directory: Path) -> Verdict:
    from ..jobs.verify import verify as run

    return run(directory)


def _mended(directory: Path, workers: int | None) -> Verdict:
    from ..jobs.repair import repair

    done = repair(directory, workers=workers)
    for file in done.files:
        typer.echo(f"taken out: {printable(file)}", err=True)
    for source in done.sources[:SHOWN]:
        typer.echo(f"{'done again' if done.report else 'to be done again'}: {printable(source)}", err=True)
    if len(done.sources) > SHOWN:
        typer.echo(f"… and {len(done.sources) - SHOWN:,} more sources", err=True)
    return done.verdict
