"""Define `percepts zero-shot`, which scores media against labels of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..support.text import read_text
from .errors import usage_errors
from .job_options import Inputs, JobOptions, Output, with_job_options
from .label_options import OLD_TASK, MultiLabel, Threshold, run_labels
from .media import Exact, Fps, Hop, Precision, Tail
from .old_options import with_old_options

Texts = Annotated[
    Path | None, typer.Option("--texts", metavar="FILE", help="Text file with one text per line.", exists=True)
]


@with_old_options(OLD_TASK)
@with_job_options
def zero_shot(
    *,
    inputs: Inputs = None,
    output: Output = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="TEXT", help="Label to choose from; repeatable."),
    ] = None,
    texts: Texts = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="Model of media and text: conse (images and video, works offline), CLIP or SigLIP; CLAP for audio.",
        ),
    ] = "conse",
    templates: Annotated[
        list[str] | None,
        typer.Option(
            "--template",
            metavar="TEXT",
            help="Sentence around each label, with {} for the label; repeatable, and then averaged. "
            "[default: the model's]",
        ),
    ] = None,
    multi_label: MultiLabel = None,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", "-k", min=1, metavar="N", help="Labels to keep for each moment. [default: all]"),
    ] = None,
    fps: Fps = 1.0,
    hop: Hop = None,
    tail: Tail = "pad",
    threshold: Threshold = None,
    exact: Exact = False,
    precision: Precision = "float32",
    job: JobOptions,
) -> None:
    """Label images, audio and video with labels of your own.

    percepts zero-shot cat.jpg -l "a cat" -l "a dog"

    percepts zero-shot photos/ --texts labels.txt -o labels/
    """
    from ..tasks.zero_shot import ZeroShotTask

    with usage_errors():
        made = ZeroShotTask.create(
            [*(labels or ()), *read_lines(texts)], model=model, templates=templates or (), multi_label=multi_label,
            top_k=top_k, fps=fps, hop=hop, tail=tail, exact=exact, precision=precision,
        )  # fmt: skip
    run_labels(made, inputs, output, job, done="labelled", threshold=threshold)


def read_lines(path: Path | None) -> list[str]:
    """Return the lines of a text file that are not empty."""
    # Blank lines are left out: an editor ends a file with one.
    return [] if path is None else [line for line in read_text(path).splitlines() if line.strip()]
