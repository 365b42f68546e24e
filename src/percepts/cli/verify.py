"""`percepts verify`: a job directory in, whether it holds what its manifest says out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._print import print_json, printable


def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A job directory of `percepts embed`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Prove that a job directory is whole, or say what is wrong.

    Looks at digests, counts, ids, times and dimensions, and for vectors that are not finite and files that the
    manifest does not list.

    percepts verify vectors/
    """
    from ..jobs.verify import verify as run

    verdict = run(directory)
    counts = dict(verdict.counts)
    if as_json:
        print_json({"ok": verdict.ok, "problems": list(verdict.problems), "counts": counts})
    else:
        for problem in verdict.problems:
            typer.secho(printable(problem), fg=typer.colors.RED)
        held = ", ".join(f"{count:,} {name}" for name, count in counts.items() if isinstance(count, int))
        typer.echo(f"{directory}: {'whole' if verdict.ok else f'{len(verdict.problems):,} problems'} ({held})")
    if not verdict.ok:
        raise typer.Exit(1)
