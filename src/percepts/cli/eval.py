"""Define `percepts eval`, which compares a result with a reference."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..support.formats import READABLE_FORMATS, WORD_FORMATS
from .errors import usage_errors
from .output import escape_text, print_json, print_table

if TYPE_CHECKING:
    from ..metrics.der import DiarizationErrors

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Compare results with a reference.")
TURNS = ", ".join(f".{name}" for name in READABLE_FORMATS)
WORDS = ", ".join(f".{name}" for name in WORD_FORMATS)
SHOWN = 20  # most frequent word errors to print
HEAD = ("recording", "DER", "missed", "false alarm", "confusion", "of")


@app.callback()
def root() -> None:
    """Compare results with a reference."""


@app.command()
def der(
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help=f"True turns of the speakers: {TURNS}.")],
    hypothesis: Annotated[
        Path, typer.Argument(metavar="HYPOTHESIS", help="Turns that were found, in the same formats.")
    ],
    collar: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Time around each true boundary that is not scored, on each side."),
    ] = 0.0,
    skip_overlap: Annotated[
        bool, typer.Option("--skip-overlap", help="Do not score speech where several people speak at once.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print seconds and names as JSON.")] = False,
) -> None:
    """Compute the diarization error rate: missed speech, false alarms and confused speakers.

    percepts eval der meeting.rttm found.rttm
    """
    from ..tasks.evaluate_der import evaluate_der

    with usage_errors():
        recordings = evaluate_der(reference, hypothesis, collar=collar, skip_overlap=skip_overlap)
    total = _total_errors(recordings)
    if as_json:
        rows = {name: _errors_row(errors) for name, errors in recordings.items()}
        print_json({"der": _finite_or_none(total.rate), "total": _errors_row(total), "recordings": rows})
        return
    lines = [_errors_cells(name, errors) for name, errors in recordings.items()]
    # The sum of one recording would repeat its row.
    if len(recordings) > 1:
        lines.append(_errors_cells("all", total))
    print_table(HEAD, lines, right=HEAD[1:])


@app.command()
def wer(
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help=f"True transcript: {WORDS}.")],
    hypothesis: Annotated[
        Path,
        typer.Argument(metavar="HYPOTHESIS", help="Transcript to check, in the same formats or .jsonl of a stream."),
    ],
    exact: Annotated[bool, typer.Option("--exact", help="Compare case and punctuation too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print counts and all changed words as JSON.")] = False,
) -> None:
    """Compute the word error rate: substitutions, deletions and insertions.

    percepts eval wer said.txt talk.srt
    """
    from ..tasks.evaluate_wer import evaluate_wer

    with usage_errors():
        errors = evaluate_wer(reference, hypothesis, exact=exact)
    if as_json:
        counts = {name: getattr(errors, name) for name in ("words", "substitutions", "deletions", "insertions")}
        print_json({"wer": _finite_or_none(errors.rate), **counts, "changes": errors.changes})
        return
    # Words were inserted into an empty reference: the rate is infinite.
    rate = f"{errors.rate:.2%}" if errors.rate < float("inf") else "nothing said"
    cells = (rate, *map(str, (errors.substitutions, errors.deletions, errors.insertions, errors.words)))
    print_table(
        ("WER", "substitutions", "deletions", "insertions", "of"), [cells], right=("substitutions", "deletions")
    )
    for (spoken, written), count in Counter(errors.changes).most_common(SHOWN):
        typer.echo(f"{count:4} x  {escape_text(spoken) or '(nothing)'} -> {escape_text(written) or '(nothing)'}")


@app.command()
def latency(
    events: Annotated[Path, typer.Argument(metavar="EVENTS", help="JSON lines of `percepts stream` or `replay`.")],
    reference: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="True times of the words: .json of `percepts align`."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print seconds as JSON.")] = False,
) -> None:
    """Compute how late a stream committed its words, and how often partial words changed.

    percepts eval latency talk.jsonl
    """
    from ..tasks.evaluate_wer import evaluate_latency

    with usage_errors():
        result = evaluate_latency(events, reference)
    if as_json:
        # Events hold no time of computing, so the real-time factor is unknown here.
        print_json({name: value for name, value in asdict(result).items() if name != "rtf"})
        return
    rows = [
        (name, *(f"{seconds:.2f} s" for seconds in late.values()))
        for name, late in (("with computing", result.aware), ("without", result.unaware))
    ]
    print_table(("late by", *result.aware), rows, right=tuple(result.aware))
    typer.echo(
        f"{result.words} words; {result.revision:.1%} of partial words changed; longest stall {result.stall:.2f} s"
    )


def _total_errors(found: dict[str, DiarizationErrors]) -> DiarizationErrors:
    from ..metrics.der import DiarizationErrors

    # Seconds are added, not rates: a long recording counts more than a short one, as NIST scores.
    return sum(found.values(), DiarizationErrors(0.0, 0.0, 0.0, 0.0))


def _errors_row(errors: DiarizationErrors) -> dict[str, Any]:
    return asdict(errors) | {"der": _finite_or_none(errors.rate)}


def _finite_or_none(rate: float) -> float | None:
    """Return the rate, or None for an infinite one, since JSON has no infinity."""
    return rate if rate < float("inf") else None


def _errors_cells(name: str, errors: DiarizationErrors) -> tuple[str, ...]:
    # Speech was found where the reference has none: the rate is infinite.
    rate = f"{errors.rate:.2%}" if errors.rate < float("inf") else "no speech"
    parts = (errors.missed, errors.false_alarm, errors.confusion, errors.total)
    return name, rate, *(f"{seconds:.2f} s" for seconds in parts)
