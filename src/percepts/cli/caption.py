"""Define `percepts caption`, which describes images and video frames in words."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from .job_options import Inputs, JobOptions, Output, run_or_print, with_job_options
from .media import Fps

Model = Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="Hugging Face id, or a model's folder.")]
Precision = Annotated[
    Literal["float32", "bfloat16", "float16"], typer.Option(help="Precision of the weights and the arithmetic.")
]
Beams = Annotated[
    int | None,
    typer.Option("--num-beams", min=1, metavar="N", help="Beams in the search. [default: the model's]"),
]
LengthPenalty = Annotated[
    float | None,
    typer.Option("--length-penalty", metavar="X", help="With beams: above 0 favours long texts, below 0 short ones."),
]
RepetitionPenalty = Annotated[
    float | None,
    typer.Option("--repetition-penalty", metavar="X", help="Above 1 makes repetition less likely, 1 changes nothing."),
]
NoRepeat = Annotated[
    int | None,
    typer.Option(
        "--no-repeat-ngram-size",
        min=0,
        metavar="N",
        help="Length in tokens from which a phrase may not repeat; 0 allows any.",
    ),
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
    num_beams: Beams = None,
    length_penalty: LengthPenalty = None,
    repetition_penalty: RepetitionPenalty = None,
    no_repeat_ngram_size: NoRepeat = None,
    job: JobOptions,
) -> None:
    """Describe images and video frames in words.

    The captions of one file are printed; with -o DIR any number of files go to a directory, as with `percepts embed`.

    percepts caption photo.jpg --model Salesforce/blip-image-captioning-base --prefix "a photo of"
    """
    from ..tasks.caption import CaptionTask
    from ..vlm.generation import GenerationOptions

    options = GenerationOptions(max_new_tokens, num_beams, length_penalty, repetition_penalty, no_repeat_ngram_size)
    task = CaptionTask.create(model, options, prefix=prefix, prompt=prompt, fps=fps, precision=precision)
    run_or_print(task, inputs, output, job, done="captioned", row="caption")
