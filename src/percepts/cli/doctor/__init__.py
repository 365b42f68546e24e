"""`percepts doctor`: this machine in, what percepts finds here out: each line tried, not looked up."""

from __future__ import annotations

from typing import Annotated

import typer

from ..output import escape_text, print_json

WIDTHS = (9, 22, 7)
COLOURS = {"ok": typer.colors.GREEN, "absent": typer.colors.YELLOW, "broken": typer.colors.RED}


def doctor(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Leave out the canary, which fetches the default's weights if they are absent."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what is installed and works, and prove the default.

    The default encoders are given a picture and a sound that they must know. Ends with 1 if something is broken that
    the default needs.
    """
    from .checks import run_checks

    broken, found = [], []
    for check in run_checks(canary=not quick):
        found.append(check)
        if check.state == "broken" and check.needed:
            broken.append(check.name)
        if not as_json:
            _print_finding(check.area, check.name, check.state, check.detail)
    if as_json:
        print_json({"ok": not broken, "checks": [check.as_row() for check in found]})
    elif broken:
        typer.secho(f"percepts: broken: {', '.join(broken)}", err=True, fg=typer.colors.RED)
    else:
        typer.secho("all that the default needs is well" + (" (the canary was left out)" if quick else ""))
    if broken:
        raise typer.Exit(1)


def _print_finding(area: str, name: str, state: str, detail: str) -> None:
    first, second, third = (f"{cell:<{width}}" for cell, width in zip((area, name, state), WIDTHS, strict=True))
    typer.echo(f"{first} {second} {typer.style(third, fg=COLOURS[state])} {escape_text(detail)}")
