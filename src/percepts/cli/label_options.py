"""What `percepts classify` and `percepts zero-shot` share: one file is answered on stdout, many are a job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import PerceptsError
from .job_options import JobOptions, run_or_print
from .output import format_clock, print_json, print_table

if TYPE_CHECKING:
    from ..tasks.labelling import LabelResult, LabelTask
    from ..types import Record

Judged = Annotated[
    Literal["single", "multi"] | None,
    typer.Option("--task", help="One label is right, or each is judged by itself. [default: as the model was trained]"),
]
Fps = Annotated[float, typer.Option(min=0.001, metavar="N", help="Frames looked at in each second of a film.")]
Hop = Annotated[
    float | None,
    typer.Option(min=0.001, metavar="SECONDS", help="Seconds from one window to the next. [default: one window]"),
]
Tail = Annotated[Literal["pad", "keep", "drop"], typer.Option(help="What becomes of the last, shorter window.")]
Exact = Annotated[bool, typer.Option("--exact", help="Decode large JPEGs at full size, which is slower.")]
Precision = Annotated[
    Literal["float32", "int8", "int8-unchecked", "bfloat16"],
    typer.Option(help="Of checkpoints of the hub. int8: on a CPU, once it was found near float32."),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, metavar="SCORE",
        help="Of one file: show each label for as long as it scores so much. [default: the best label of each moment]",
    ),
]  # fmt: skip


@contextmanager
def usage_errors() -> Iterator[None]:
    """An option that the model does not have is told as such."""
    try:
        yield
    except PerceptsError:
        raise
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def run_labels(
    task: LabelTask,
    inputs: Sequence[str] | None,
    output: Path | None,
    job: JobOptions,
    *,
    done: str,
    threshold: float | None,
) -> None:
    """Print the labels of one file where no directory is given, else run a job."""
    run_or_print(
        task, inputs, output, job, done=done, row="set of labels",
        print_one=lambda labels: _print_labels(labels, threshold, job),
    )  # fmt: skip


def _print_labels(found: LabelResult, threshold: float | None, job: JobOptions) -> None:
    for note in found.notes:
        typer.secho(f"percepts: {note}", err=True, fg=typer.colors.YELLOW)
    if job.as_json:
        print_json(as_json(found, threshold))
    elif job.formats:
        _as_subtitles(found, threshold, job.chosen_formats)
    else:
        print_table(("score", "label"), _label_pairs(found.overall), right=("score",))
        if found.kind != "image":
            typer.echo()
            head = ("start", "stop", "score", "label")
            print_table(head, _label_rows(found, threshold), right=("start", "stop", "score"))


def as_json(found: LabelResult, threshold: float | None) -> dict[str, Any]:
    """The labels of one source as JSON has them."""
    from ..timeline.segments import to_row

    whole = found.overall
    return {
        "source": whole.source,
        "kind": whole.kind,
        "model": whole.model,
        "labels": _score_pairs(whole),
        "records": [{"start": r.start, "stop": r.stop, "labels": _score_pairs(r)} for r in found.records],
        "intervals": [] if found.kind == "image" else [to_row(segment) for segment in found.intervals(threshold)],
    }


def _as_subtitles(found: LabelResult, threshold: float | None, formats: Sequence[str]) -> None:
    from ..timeline.subtitles import FORMATS, write_segments

    if len(formats) != 1 or formats[0] not in FORMATS:
        raise typer.BadParameter(
            f"of one file, expected one of {', '.join(FORMATS)}; give -o DIR for more", param_hint="--format"
        )
    typer.echo(write_segments(found.intervals(threshold), formats[0], source=Path(found.overall.source).stem), nl=False)


def _score_pairs(record: Record) -> list[dict[str, Any]]:
    return [{"label": label, "score": score} for label, score in zip(record.labels, record.scores, strict=True)]


def _label_pairs(record: Record) -> list[tuple[str, str]]:
    return [(f"{score:.3f}", label) for label, score in zip(record.labels, record.scores, strict=True)]


def _label_rows(found: LabelResult, threshold: float | None) -> list[tuple[str, ...]]:
    return [
        (format_clock(segment.start), format_clock(segment.stop), f"{segment.score or 0:.3f}", segment.text)
        for segment in found.intervals(threshold)
    ]
