"""Define `percepts demo`, which embeds real media and finds them again with the default models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...support.outputs import OutputFolder
from ..job_options import exit_code, print_failures
from ..output import format_clock, format_duration, print_json, print_table
from ..output_options import Overwrite
from ..progress import Mode, show_job_progress
from ..search import as_row

if TYPE_CHECKING:
    from .run import Answer, Demo


def demo(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the media, the vectors and the contact sheet."),
    ] = Path("demo-output"),
    overwrite: Overwrite = False,
    show: Annotated[
        Mode, typer.Option("--progress", help="How progress is shown on stderr; auto: a bar on a terminal, else lines.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
) -> None:
    """Embed real media and find them again by words and by audio.

    Downloads about 100 MB of weights the first time, and keeps other files in the folder. The exit code is 1 if an
    answer is wrong.
    """
    from . import contact_sheet
    from .run import run_demo

    with show_job_progress(show) as on_progress:
        done = run_demo(output, overwrite=overwrite, on_progress=on_progress)
    sheets = contact_sheet.write_contact_sheet(done, OutputFolder(output, overwrite=overwrite))
    if as_json:
        print_json(_demo_json(done))
    else:
        _print_demo(done)
        typer.echo(f"\nThe same with thumbnails: {' and '.join(str(path) for path in sheets)}")
    if not done.right:
        typer.secho("percepts: an answer is wrong; see the table", err=True, fg=typer.colors.RED)
        raise typer.Exit(1)
    if code := exit_code(done.report):
        raise typer.Exit(code)


def _demo_json(done: Demo) -> dict[str, Any]:
    def answers(found: tuple[Answer, ...]) -> list[dict[str, Any]]:
        return [
            {"asked": answer.title, "right": answer.right, "hits": [as_row(hit) for hit in answer.hits]}
            for answer in found
        ]

    return {
        "right": done.right,
        "pictures": answers(done.pictures),
        "moments": answers(done.moments),
        "sounds": answers(done.sounds),
    }


def _print_demo(done: Demo) -> None:
    report = done.report
    typer.echo(f"{report.done} files, {report.rows} vectors, embedded in {format_duration(report.seconds)}\n")
    print_failures(report)
    from .run import name_of

    print_table(
        ("words", "", "nearest image", "score", "next", "score"),
        [
            (a.title, _answer_mark(a), name_of(a.hits[0]), _answer_score(a, 0), name_of(a.hits[1]), _answer_score(a, 1))
            for a in done.pictures
        ],
    )
    typer.echo()
    print_table(
        ("words", "", "moment of the video", "score"),
        [(a.title, _answer_mark(a), format_clock(a.hits[0].record.start), _answer_score(a, 0)) for a in done.moments],
    )
    typer.echo()
    print_table(
        ("audio", "", "nearest audio", "from", "to", "score"),
        [
            (
                a.title,
                _answer_mark(a),
                name_of(a.hits[0]),
                format_clock(a.hits[0].record.start),
                format_clock(a.hits[0].record.stop),
                _answer_score(a, 0),
            )
            for a in done.sounds
        ],
    )


def _answer_mark(answer: Answer) -> str:
    return "right" if answer.right else "WRONG"


def _answer_score(answer: Answer, place: int) -> str:
    return f"{answer.hits[place].score:.3f}"
