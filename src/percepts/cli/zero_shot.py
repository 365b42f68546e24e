"""`percepts zero-shot`: pictures, recordings and films in, and labels of one's own; how likely each is out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..support.text import read_text
from .job_options import Inputs, JobOptions, Output, with_job_options
from .label_options import Exact, Fps, Hop, Judged, Precision, Tail, Threshold, run_labels, usage_errors

Texts = Annotated[
    Path | None, typer.Option("--texts", metavar="FILE", help="A text file with one on each line.", exists=True)
]


@with_job_options
def zero_shot(
    *,
    inputs: Inputs = None,
    output: Output = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="TEXT", help="One to choose from; give it for each of them."),
    ] = None,
    texts: Texts = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A model of media and text: conse (pictures and films, no hub); CLIP, SigLIP; CLAP for sound.",
        ),
    ] = "conse",
    templates: Annotated[
        list[str] | None,
        typer.Option(
            "--template",
            metavar="TEXT",
            help="Words around the label, {} for the label; of several the mean counts. [default: the model's own]",
        ),
    ] = None,
    task: Judged = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", "-k", min=1, metavar="N", help="Labels kept of each moment. [default: all]")
    ] = None,
    fps: Fps = 1.0,
    hop: Hop = None,
    tail: Tail = "pad",
    threshold: Threshold = None,
    exact: Exact = False,
    precision: Precision = "float32",
    job: JobOptions,
) -> None:
    """Choose between labels of your own for any media.

    percepts zero-shot cat.jpg -l "a cat" -l "a dog"

    percepts zero-shot photos/ --texts labels.txt -o labels/
    """
    from ..tasks.zero_shot import ZeroShotTask

    with usage_errors():
        made = ZeroShotTask.create(
            [*(labels or ()), *read_lines(texts)], model=model, templates=templates or (), task=task, top_k=top_k,
            fps=fps,
            hop=hop, tail=tail, exact=exact, precision=precision,
        )  # fmt: skip
    run_labels(made, inputs, output, job, done="labelled", threshold=threshold)


def read_lines(path: Path | None) -> list[str]:
    """The lines of a text file that hold something."""
    return [] if path is None else [line for line in read_text(path).splitlines() if line.strip()]
