"""Define the options of commands that label media, and print the labels of one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..support.formats import FORMATS
from .job_options import JobOptions, run_or_print
from .old_options import OldOption
from .output import format_clock, print_json, print_table

if TYPE_CHECKING:
    from ..tasks.labelling import LabelResult, LabelTask
    from ..types import Record

MultiLabel = Annotated[
    bool | None,
    typer.Option(
        "--multi-label/--single-label",
        help="Several labels may be right, or exactly one. [default: as the model was trained]",
    ),
]
OLD_TASK = OldOption(
    "--task",
    Literal["single", "multi"],
    "multi_label",
    "--multi-label or --single-label",
    lambda task: bool(task == "multi"),
)
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, metavar="SCORE",
        help="For one file: show each label while its score is at least this. [default: the best label of each moment]",
    ),
]  # fmt: skip


def run_labels(
    task: LabelTask,
    inputs: Sequence[str] | None,
    output: Path | None,
    job: JobOptions,
    *,
    done: str,
    threshold: float | None,
) -> None:
    """Print the labels of one file where no directory is given, else run a job.

    Args:
        task: the classifier.
        inputs: files, folders and URLs.
        output: the job directory; None prints the labels of one file.
        job: the options that all jobs share.
        done: what was done to a file, for the sentence at the end: "classified".
        threshold: the score at which a label of one file is shown; None shows the best label of each moment.
    """
    run_or_print(
        task, inputs, output, job, done=done, row="set of labels",
        print_one=lambda labels: _print_labels(labels, threshold, job),
    )  # fmt: skip


def _print_labels(result: LabelResult, threshold: float | None, job: JobOptions) -> None:
    for note in result.notes:
        # To stderr: --json on stdout must stay JSON.
        typer.secho(f"percepts: {note}", err=True, fg=typer.colors.YELLOW)
    if job.as_json:
        print_json(as_json(result, threshold))
    # Asked of the option: `chosen_formats` says parquet where none is given.
    elif job.formats:
        _print_subtitles(result, threshold, job.chosen_formats)
    else:
        print_table(("score", "label"), _label_pairs(result.overall), right=("score",))
        if result.kind != "image":  # an image has one moment, and the table above shows it
            typer.echo()
            head = ("start", "stop", "score", "label")
            print_table(head, _label_rows(result, threshold), right=("start", "stop", "score"))


def as_json(result: LabelResult, threshold: float | None) -> dict[str, Any]:
    """Return the labels of one file as `--json` prints them."""
    from ..timeline.segments import to_row

    overall = result.overall
    return {
        "source": overall.source,
        "kind": overall.kind,
        "model": overall.model,
        "labels": _score_pairs(overall),
        "records": [{"start": r.start, "stop": r.stop, "labels": _score_pairs(r)} for r in result.records],
        # An image has no duration that an interval could have.
        "intervals": [] if result.kind == "image" else [to_row(segment) for segment in result.intervals(threshold)],
    }


def _print_subtitles(result: LabelResult, threshold: float | None, formats: Sequence[str]) -> None:
    from ..timeline.subtitles import write_segments

    if len(formats) != 1 or formats[0] not in FORMATS:
        raise typer.BadParameter(
            f"expected one of {', '.join(FORMATS)} for one file; give -o DIR to write several", param_hint="--format"
        )
    name = Path(result.overall.source).stem
    typer.echo(write_segments(result.intervals(threshold), formats[0], source=name), nl=False)


def _score_pairs(record: Record) -> list[dict[str, Any]]:
    return [{"label": label, "score": score} for label, score in zip(record.labels, record.scores, strict=True)]


def _label_pairs(record: Record) -> list[tuple[str, str]]:
    return [(f"{score:.3f}", label) for label, score in zip(record.labels, record.scores, strict=True)]


def _label_rows(result: LabelResult, threshold: float | None) -> list[tuple[str, ...]]:
    return [
        (format_clock(segment.start), format_clock(segment.stop), f"{segment.score or 0:.3f}", segment.text)
        for segment in result.intervals(threshold)
    ]
