"""`percepts eval`: a reference and a result in, how far they differ out."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import escape_text, print_json, print_table

if TYPE_CHECKING:
    from ..metrics.der import DiarizationErrors

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure a result against what is true.")
SHOWN = 20  # different changes of words
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
    from ..tasks.evaluate_der import evaluate_der

    try:
        found = evaluate_der(reference, hypothesis, collar=collar, skip_overlap=skip_overlap)
    except ValueError as error:
        raise typer.BadParameter(escape_text(str(error))) from error
    total = _total_errors(found)
    if as_json:
        rows = {name: _errors_row(errors) for name, errors in found.items()}
        print_json({"der": _finite_or_none(total.rate), "total": _errors_row(total), "recordings": rows})
        return
    lines = [_errors_cells(name, errors) for name, errors in found.items()]
    if len(found) > 1:
        lines.append(_errors_cells("all", total))
    print_table(HEAD, lines, right=HEAD[1:])


@app.command()
def wer(
    reference: Annotated[
        Path, typer.Argument(metavar="REFERENCE", help="What was said: .txt, .json, .srt, .vtt, .tsv.")
    ],
    hypothesis: Annotated[
        Path, typer.Argument(metavar="HYPOTHESIS", help="What was written down; .jsonl of a stream too.")
    ],
    exact: Annotated[bool, typer.Option("--exact", help="Case and punctuation count.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print counts and all changed words as JSON.")] = False,
) -> None:
    """Word error rate: the share of words that are others, missing, or made up.

    percepts eval wer said.txt talk.srt
    """
    from ..tasks.evaluate_wer import evaluate_wer

    try:
        found = evaluate_wer(reference, hypothesis, exact=exact)
    except ValueError as error:
        raise typer.BadParameter(escape_text(str(error))) from error
    if as_json:
        counts = {name: getattr(found, name) for name in ("words", "substitutions", "deletions", "insertions")}
        print_json({"wer": _finite_or_none(found.rate), **counts, "changes": found.changes})
        return
    rate = f"{found.rate:.2%}" if found.rate < float("inf") else "nothing said"
    cells = (rate, *map(str, (found.substitutions, found.deletions, found.insertions, found.words)))
    print_table(
        ("WER", "substitutions", "deletions", "insertions", "of"), [cells], right=("substitutions", "deletions")
    )
    for (said, written), count in Counter(found.changes).most_common(SHOWN):
        typer.echo(f"{count:4} x  {escape_text(said) or '(nothing)'} -> {escape_text(written) or '(nothing)'}")


@app.command()
def latency(
    events: Annotated[Path, typer.Argument(metavar="EVENTS", help="JSON lines of `percepts stream` or `replay`.")],
    reference: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="When the words were really said: .json of `percepts align`."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print seconds as JSON.")] = False,
) -> None:
    """How late the words of a stream were committed, and how often partial ones were taken back.

    percepts eval latency talk.jsonl
    """
    from ..tasks.evaluate_wer import evaluate_latency

    try:
        found = evaluate_latency(events, reference)
    except ValueError as error:
        raise typer.BadParameter(escape_text(str(error))) from error
    if as_json:
        print_json({name: value for name, value in asdict(found).items() if name != "rtf"})
        return
    rows = [
        (name, *(f"{seconds:.2f} s" for seconds in late.values()))
        for name, late in (("with computing", found.aware), ("without", found.unaware))
    ]
    print_table(("late by", *found.aware), rows, right=tuple(found.aware))
    typer.echo(
        f"{found.words} words; {found.revision:.1%} of partial ones taken back; longest stall {found.stall:.2f} s"
    )


def _total_errors(found: dict[str, DiarizationErrors]) -> DiarizationErrors:
    from ..metrics.der import DiarizationErrors

    return sum(found.values(), DiarizationErrors(0.0, 0.0, 0.0, 0.0))


def _errors_row(errors: DiarizationErrors) -> dict[str, Any]:
    return asdict(errors) | {"der": _finite_or_none(errors.rate)}


def _finite_or_none(rate: float) -> float | None:
    """JSON has no infinity."""
    return rate if rate < float("inf") else None


def _errors_cells(name: str, errors: DiarizationErrors) -> tuple[str, ...]:
    rate = f"{errors.rate:.2%}" if errors.rate < float("inf") else "no speech"
    parts = (errors.missed, errors.false_alarm, errors.confusion, errors.total)
    return name, rate, *(f"{seconds:.2f} s" for seconds in parts)
