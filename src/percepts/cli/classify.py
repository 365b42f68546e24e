"""`percepts classify`: pictures, recordings and films in; the labels of a classifier out, with scores and times."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from .job_options import Inputs, JobOptions, Output, with_job_options
from .label_options import Exact, Fps, Hop, Judged, Precision, Tail, Threshold, run_labels, usage_errors


@with_job_options
def classify(
    *,
    inputs: Inputs = None,
    output: Output = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A classifier: effnet-lite0 (1000 labels for pictures and films, no hub), or the hub id or folder of "
            "a checkpoint with a classifier for pictures, sound or films.",
        ),
    ] = "effnet-lite0",
    task: Judged = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, metavar="N", help="Labels kept of each moment.")] = 5,
    fps: Fps = 1.0,
    hop: Hop = None,
    window: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Of checkpoints that can have another. [default: its own]")
    ] = 0.0,
    tail: Tail = "pad",
    frames: Annotated[
        Literal["windows", "uniform"],
        typer.Option(
            help="For classifiers of films: windows as they were trained on, or as many frames spread over the whole."
        ),
    ] = "windows",
    threshold: Threshold = None,
    exact: Exact = False,
    precision: Precision = "float32",
    job: JobOptions,
) -> None:
    """Name what is in pictures, recordings and films.

    The labels are those that a classifier was trained on.

    percepts classify cat.jpg

    percepts classify photos/ films/ -o labels/
    """
    from ..tasks.classify import ClassifyTask

    with usage_errors():
        made = ClassifyTask.create(
            model, task=task, top_k=top_k, fps=fps, hop=hop, window=window, tail=tail, frames=frames, exact=exact,
            precision=precision,
        )  # fmt: skip
    run_labels(made, inputs, output, job, done="classified", threshold=threshold)
