"""Define `percepts tokens`, which writes the tokens that a model makes of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..support.outputs import check_output_file
from .media import Fps, Hop
from .output import escape_text, print_json
from .output_options import Overwrite


def tokens(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Image, audio or video file.")],
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME", help="Encoder name, Hugging Face id, or a model's folder.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="File to write; its name ends in .npz or .safetensors."),
    ],
    fps: Fps = 1.0,
    hop: Hop = None,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write the patch, frame or colour tokens of a file.

    The tokens come with their grid and their times.

    percepts tokens talk.flac --model openai/whisper-base -o talk.npz
    """
    if output.suffix not in (".npz", ".safetensors"):
        raise typer.BadParameter(
            f"expected a name that ends in .npz or .safetensors, got {output.name}", param_hint="-o"
        )
    check_output_file(output, inputs=[source], overwrite=overwrite)
    # After the options are checked, since it imports the encoders.
    from ..tasks.tokens import tokens as run

    result = run(source, model, fps=fps, hop=hop)
    result.save(output, overwrite=overwrite)
    grid = " x ".join(f"{axis} {count}" for axis, count in zip(result.axes, result.shape, strict=True))
    if as_json:
        facts = {
            "axes": list(result.axes),
            "shape": list(result.shape),
            "step": result.step,
            "data": list(result.data.shape),
        }
        print_json({"model": result.model, "output": str(output), **facts})
    else:
        sizes = " x ".join(map(str, result.data.shape))
        typer.echo(escape_text(f"{sizes} {result.data.dtype} of {result.model} (windows of {grid}) in {output}"))
