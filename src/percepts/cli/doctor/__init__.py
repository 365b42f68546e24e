"""Define `percepts doctor`, which tries what is installed and reports what works."""

from __future__ import annotations

from typing import Annotated

import typer

from ..output import escape_text, print_json

WIDTHS = (9, 22, 7)  # fixed, since each finding is printed before the next one is known
COLOURS = {"ok": typer.colors.GREEN, "absent": typer.colors.YELLOW, "broken": typer.colors.RED}


def doctor(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Skip the check of the default models, which downloads their weights if needed."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check what is installed and works, and try the default models.

    The default encoders must recognise a known image and known audio. The exit code is 1 if something that the default
    models need is broken.
    """
    from .checks import run_checks

    broken, found = [], []
    # Printed one by one: the models take seconds, and a crash shows which check it was.
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
        typer.secho(
            "Everything that the default models need works" + (" (the models were not tried)." if quick else ".")
        )
    if broken:
        raise typer.Exit(1)


def _print_finding(area: str, name: str, state: str, detail: str) -> None:
    first, second, third = (f"{cell:<{width}}" for cell, width in zip((area, name, state), WIDTHS, strict=True))
    typer.echo(f"{first} {second} {typer.style(third, fg=COLOURS[state])} {escape_text(detail)}")
