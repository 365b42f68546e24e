"""`percepts eval`: a reference and a result in, how far they differ out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._print import print_json, print_table, printable

if TYPE_CHECKING:
    from ..timeline.metrics import Errors

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure a result against what is true.")
HEAD = ("recording", "DER", "missed", "false alarm", "confusion", "of")


@app.callback()
def root() -> None:
    """Measure a result against what is true."""


@app.command()
def der(
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Who spoke when: .rttm, .json, .srt, .vtt.")],
    hypothesis: Annotated[Path, typer.Argument(metavar="HYPOTHESIS", help="Who was found to speak when.")],
    collar: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Forgive so much on each side of every boundary.")
    ] = 0.0,
    skip_overlap: Annotated[
        bool, typer.Option("--skip-overlap", help="Leave out where several speak at once.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print seconds and names as JSON.")] = False,
) -> None:
    """Diarization error rate: the share of speech that is missed, made up, or given to somebody else.

    percepts eval der meeting.rttm found.rttm
    """
    from ..tasks.evaluate import der_of_files

    try:
        found = der_of_files(reference, hypothesis, collar=collar, skip_overlap=skip_overlap)
    except ValueError as error:
        raise typer.BadParameter(printable(str(error))) from error
    total = _total(found)
    if as_json:
        rows = {name: _row(errors) for name, errors in found.items()}
        print_json({"der": _finite(total.rate), "total": _row(total), "recordings": rows})
        return
    lines = [_cells(name, errors) for name, errors in found.items()]
    if len(found) > 1:
        lines.append(_cells("all", total))
    print_table(HEAD, lines, right=HEAD[1:])


def _total(found: dict[str, Errors]) -> Errors:
    from ..timeline.metrics import Errors

    return sum(found.values(), Errors(0.0, 0.0, 0.0, 0.0))


def _row(errors: Errors) -> dict[str, Any]:
    return asdict(errors) | {"der": _finite(errors.rate)}


def _finite(rate: float) -> float | None:
    """JSON has no infinity."""
    return rate if rate < float("inf") else None


def _cells(name: str, errors: Errors) -> tuple[str, ...]:
    rate = f"{errors.rate:.2%}" if errors.rate < float("inf") else "no speech"
    parts = (errors.missed, errors.false_alarm, errors.confusion, errors.total)
    return name, rate, *(f"{seconds:.2f} s" for seconds in parts)
