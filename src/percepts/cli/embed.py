"""Define `percepts embed`, which turns media files into a job directory of vectors."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from .job_options import Inputs, JobOptions, Output, run_job, with_job_options
from .media import Exact, Fps, Hop, Precision, Tail
from .old_options import OldOption, with_old_options


@with_old_options(OldOption("--whole", bool, "rows", "--rows source", lambda whole: "source"))
@with_job_options
def embed(
    *,
    inputs: Inputs = None,
    output: Output = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="Encoder; repeatable. A name that `percepts models` lists, a Hugging Face id or a model's folder. "
            "[default: conse for images and video, melstats for audio]",
        ),
    ] = None,
    fps: Fps = 1.0,
    hop: Hop = None,
    tail: Tail = "pad",
    precision: Precision = "float32",
    runtime: Annotated[
        Literal["auto", "torch", "compile", "onnx", "openvino"],
        typer.Option(help="Library that runs the encoder. auto: the fastest on this machine, measured once."),
    ] = "auto",
    exact: Exact = False,
    rows: Annotated[
        Literal["window", "source"],
        typer.Option(help="A row for each window or frame, or one for each file: their mean, weighted by duration."),
    ] = "window",
    job: JobOptions,
) -> None:
    """Embed images, audio and video into vectors.

    Run it again to resume after an interruption or to add files; finished files are skipped.

    percepts embed photos/ talk.flac film.mp4 -o vectors/
    """
    from ..tasks.embed import EmbedTask

    task = EmbedTask.create(
        models or (), fps=fps, hop=hop, tail=tail, exact=exact, rows=rows, precision=precision, runtime=runtime
    )
    run_job(task, inputs, output, job, done="embedded", row="vector")
