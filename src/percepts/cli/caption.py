"""`percepts caption`: pictures and films in, what they show out; one file is printed, any number go to a directory."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from .job_options import Inputs, JobOptions, Output, run_or_print, with_job_options

Model = Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="A hub id or a checkpoint's folder.")]
Precision = Annotated[
    Literal["float32", "bfloat16", "float16"], typer.Option(help="Of the weights and the arithmetic.")
]
Beams = Annotated[
    int | None,
    typer.Option("--num-beams", min=1, metavar="N", help="Beams kept side by side. [default: the checkpoint's]"),
]
LengthPenalty = Annotated[
    float | None, typer.Option("--length-penalty", metavar="X", help="With beams: above 0 favours long texts.")
]
RepetitionPenalty = Annotated[
    float | None, typer.Option("--repetition-penalty", metavar="X", help="Above 1 makes repetition less likely.")
]
NoRepeat = Annotated[
    int | None,
    typer.Option("--no-repeat-ngram-size", min=0, metavar="N", help="No run of so many tokens comes twice."),
]


@with_job_options
def caption(
    *,
    inputs: Inputs = None,
    output: Output = None,
    model: Model,
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Every caption begins with it: 'a photo of'.")] = "",
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="What a chat model is asked.")] = "",
    fps: Annotated[
        float, typer.Option(min=0.001, metavar="N", help="Frames looked at in each second of a film.")
    ] = 1.0,
    precision: Precision = "float32",
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, metavar="N", help="Tokens written at most.")
    ] = 50,
    num_beams: Beams = None,
    length_penalty: LengthPenalty = None,
    repetition_penalty: RepetitionPenalty = None,
    no_repeat_ngram_size: NoRepeat = None,
    job: JobOptions,
) -> None:
    """Say what pictures and the frames of films show.

    One file is captioned on the terminal; with -o any number go into a directory, as `percepts embed` does it.

    percepts caption photo.jpg --model Salesforce/blip-image-captioning-base --prefix "a photo of"
    """
    from ..tasks.caption import CaptionTask
    from ..vlm.generation import GenerationOptions

    options = GenerationOptions(max_new_tokens, num_beams, length_penalty, repetition_penalty, no_repeat_ngram_size)
    task = CaptionTask.create(model, options, prefix=prefix, prompt=prompt, fps=fps, precision=precision)
    run_or_print(task, inputs, output, job, done="captioned", row="caption")
