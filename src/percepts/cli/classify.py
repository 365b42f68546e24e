"""Define `percepts classify`, which labels media with the labels a classifier was trained on."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from .errors import usage_errors
from .job_options import Inputs, JobOptions, Output, with_job_options
from .label_options import OLD_TASK, MultiLabel, Threshold, run_labels
from .media import Exact, Fps, Hop, Precision, Tail
from .old_options import with_old_options


@with_old_options(OLD_TASK)
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
            help="Classifier: effnet-lite0 (1000 labels for images and video, works offline), or the Hugging Face id "
            "or folder of a model that classifies images, audio or video.",
        ),
    ] = "effnet-lite0",
    multi_label: MultiLabel = None,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", min=1, metavar="N", help="Labels to keep for each moment.")
    ] = 5,
    fps: Fps = 1.0,
    hop: Hop = None,
    window: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="Window length, for models that can change it. [default: the model's]"
        ),
    ] = 0.0,
    tail: Tail = "pad",
    frames: Annotated[
        Literal["windows", "uniform"],
        typer.Option(
            help="For video classifiers: windows as in training, or as many frames spread over the whole video."
        ),
    ] = "windows",
    threshold: Threshold = None,
    exact: Exact = False,
    precision: Precision = "float32",
    job: JobOptions,
) -> None:
    """Label images, audio and video with a classifier.

    The labels are those that the classifier was trained on.

    percepts classify cat.jpg

    percepts classify photos/ films/ -o labels/
    """
    from ..tasks.classify import ClassifyTask

    # The task checks these values, too, and its ValueError is about an option.
    with usage_errors():
        made = ClassifyTask.create(
            model, multi_label=multi_label, top_k=top_k, fps=fps, hop=hop, window=window, tail=tail, frames=frames,
            exact=exact, precision=precision,
        )  # fmt: skip
    run_labels(made, inputs, output, job, done="classified", threshold=threshold)
