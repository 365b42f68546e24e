"""Define `percepts caption`, which describes images and video frames in words."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from .generation_options import GenerationFlags
from .job_options import Inputs, JobOptions, Output, run_or_print, with_job_options
from .media import Fps

Model = Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="Hugging Face id, or a model's folder.")]
Precision = Annotated[
    Literal["float32", "bfloat16", "float16"], typer.Option(help="Precision of the weights and the arithmetic.")
]


@with_job_options
def caption(
    *,
    inputs: Inputs = None,
    output: Output = None,
    model: Model,
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="Words that every caption starts with, such as 'a photo of'.")
    ] = "",
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="Instruction for a chat model.")] = "",
    fps: Fps = 1.0,
    precision: Precision = "float32",
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, metavar="N", help="Longest caption, in tokens.")
    ] = 50,
    generation: GenerationFlags,
    job: JobOptions,
) -> None:
    """Describe images and video frames in words.

    The captions of one file are printed; with -o DIR any number of files go to a directory, as with `percepts embed`.

    percepts caption photo.jpg --model Salesforce/blip-image-captioning-base --prefix "a photo of"
    """
    from ..tasks.caption import CaptionTask

    options = generation.build(max_new_tokens)
    task = CaptionTask.create(model, options, prefix=prefix, prompt=prompt, fps=fps, precision=precision)
    run_or_print(task, inputs, output, job, done="captioned", row="caption")
