"""`percepts embed`: files and folders in, a job directory of vectors out."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from .job_options import Inputs, JobOptions, Output, run_job, with_job_options


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
            help="An encoder, may be given several times; `percepts models` lists them, and a hub id or a checkpoint's "
            "folder is one too. "
            "[default: conse for pictures and films, melstats for sound]",
        ),
    ] = None,
    fps: Annotated[
        float, typer.Option(min=0.001, metavar="N", help="Frames looked at in each second of a film.")
    ] = 1.0,
    hop: Annotated[
        float | None,
        typer.Option(
            min=0.001, metavar="SECONDS", help="Seconds from one window of sound to the next. [default: one window]"
        ),
    ] = None,
    tail: Annotated[
        Literal["pad", "keep", "drop"], typer.Option(help="What becomes of the last, shorter window of sound.")
    ] = "pad",
    precision: Annotated[
        Literal["float32", "int8", "int8-unchecked", "bfloat16"],
        typer.Option(help="Of checkpoints of the hub. int8: on a CPU, once it was found near float32."),
    ] = "float32",
    runtime: Annotated[
        Literal["auto", "torch", "compile", "onnx", "openvino"],
        typer.Option(help="What computes. auto: what is faster here, measured once."),
    ] = "auto",
    exact: Annotated[bool, typer.Option("--exact", help="Decode large JPEGs at full size, which is slower.")] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="One row a source: the mean of its windows, weighted by their duration.")
    ] = False,
    job: JobOptions,
) -> None:
    """Embed pictures, recordings and films into vectors.

    Run it again to go on after an interruption or to add sources: what is done is not done twice.

    percepts embed photos/ talk.flac film.mp4 -o vectors/
    """
    from ..tasks.embed import EmbedTask

    task = EmbedTask.create(
        models or (), fps=fps, hop=hop, tail=tail, exact=exact, whole=whole, precision=precision, runtime=runtime
    )
    run_job(task, inputs, output, job, done="embedded", row="vector")
