"""Define `percepts ask`, which answers questions about an image, a page, a video or a table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..support.text import parse_json, read_text
from .caption import Model, Precision
from .generation_options import GenerationFlags
from .job_options import JobOptions, Output, run_job, with_job_options
from .output import escape_text, format_clock, print_json

if TYPE_CHECKING:
    from ..tasks.answers import Answer


@with_job_options
def ask(
    *,
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Image, scanned page, video, or table (.csv, .tsv, .parquet); with -o also a folder."
        ),
    ],
    questions: Annotated[list[str], typer.Argument(metavar="QUESTIONS", help="One or more questions.")],
    output: Output = None,
    # No default: every one of these models is a download.
    model: Model,
    words: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON", help='Words on a page, as JSON: [{"text": …, "box": [left, top, right, bottom]}, …].'
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="N", help="Answer for each video frame, at this many frames per second."),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Answer once for this many frames of a video (chat models). [default: 8]"
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Column names of a table without a header, separated by commas.")
    ] = None,
    rows: Annotated[
        str | None, typer.Option(metavar="FROM:TO", help="Rows of a table to read, counted from 0, TO excluded.")
    ] = None,
    precision: Precision = "float32",
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, metavar="N", help="Longest answer, in tokens.")
    ] = 128,
    generation: GenerationFlags,
    job: JobOptions,
) -> None:
    """Answer questions about an image, a page, a video or a table.

    percepts ask photo.jpg "how many cups?" --model Salesforce/blip-vqa-base

    percepts ask sales.csv "total hours?" --model google/tapas-base-finetuned-wtq
    """
    from ..tasks.ask import AskTask
    from ..vlm.tables.table import is_table

    # A table comes first, since AskTask would try to decode it as media.
    if is_table(source):
        _refuse_ignored(
            {"-o": output, "--words": words, "--fps": fps, "--frames": frames},
            "not for a table, which is answered alone",
        )
        answers: Any = _ask_table(source, questions, model, columns, rows)
    else:
        _refuse_ignored({"--columns": columns, "--rows": rows}, "only for tables")
        options = generation.build(max_new_tokens)
        task = AskTask.create(questions, model, options, fps=fps, frames=frames, precision=precision)
        if output is not None:
            _refuse_ignored({"--words": words}, "only for one page, without -o")
            run_job(task, [source], output, job, done="asked", row="answer")
            return
        answers = task.run_one(source) if words is None else task.answer_page(source, _read_words(words))
    if job.as_json:
        print_json([asdict(answer) for answer in answers])
        return
    for answer in answers:
        typer.echo(_answer_line(answer, several=len(questions) > 1))


def _ask_table(source: str, questions: list[str], model: str, columns: str | None, rows: str | None) -> Any:
    from ..tasks.ask_table import ask_table

    # A name with a comma needs the Python function, which takes a list.
    names = None if columns is None else [name.strip() for name in columns.split(",")]
    return ask_table(source, questions, model=model, columns=names, rows=None if rows is None else _parse_range(rows))


def _parse_range(text: str) -> range:
    first, colon, last = text.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise typer.BadParameter(f"expected FROM:TO, such as 0:40, got {text!r}", param_hint="--rows")
    return range(int(first), int(last))


def _read_words(path: Path) -> list[Any]:
    try:
        words = parse_json(read_text(path))
    except ValueError as error:
        raise typer.BadParameter(f"expected JSON in {path}: {error}", param_hint="--words") from error
    if not isinstance(words, list):
        raise typer.BadParameter(f"expected a list in {path}", param_hint="--words")
    return words


def _refuse_ignored(options: dict[str, Any], why: str) -> None:
    """Raise an error of usage for each given option that this command line would ignore."""
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(why, param_hint=name)


def _answer_line(answer: Answer, *, several: bool) -> str:
    # Only a video has moments.
    at = f"{format_clock(answer.start)}  " if answer.kind == "video" else ""
    box = f"  [{', '.join(f'{side:g}' for side in answer.box)}]" if answer.box else ""
    # One question stands in the command line already.
    asked = f"{escape_text(answer.question)}  " if several else ""
    return f"{at}{asked}{escape_text(answer.text)}{box}"
