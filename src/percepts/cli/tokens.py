"""`percepts tokens`: a file in, the tokens a model makes of it out, to .npz or .safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..support.outputs import check_output_file
from .output import escape_text, print_json
from .output_options import Overwrite


def tokens(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A picture, a recording or a film.")],
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME", help="A name, a hub id or a checkpoint's folder.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to; its name ends in .npz or .safetensors.")
    ],
    fps: Annotated[
        float, typer.Option(min=0.001, metavar="N", help="Frames looked at in each second of a film.")
    ] = 1.0,
    hop: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="SECONDS", help="From one window to the next. [default: one window]"),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write the patches, frames or colours of a file as tokens.

    They come with their grid and their times.

    percepts tokens talk.flac --model openai/whisper-base -o talk.npz
    """
    if output.suffix not in (".npz", ".safetensors"):
        raise typer.BadParameter(
            f"expected a name that ends in .npz or .safetensors, got {output.name}", param_hint="-o"
        )
    check_output_file(output, inputs=[source], overwrite=overwrite)
    from ..tasks.tokens import tokens as run

    found = run(source, model, fps=fps, hop=hop)
    found.save(output, overwrite=overwrite)
    grid = " x ".join(f"{axis} {count}" for axis, count in zip(found.axes, found.shape, strict=True))
    if as_json:
        facts = {
            "axes": list(found.axes),
            "shape": list(found.shape),
            "step": found.step,
            "data": list(found.data.shape),
        }
        print_json({"model": found.model, "output": str(output), **facts})
    else:
        sizes = " x ".join(map(str, found.data.shape))
        typer.echo(escape_text(f"{sizes} {found.data.dtype} of {found.model} (windows of {grid}) in {output}"))
