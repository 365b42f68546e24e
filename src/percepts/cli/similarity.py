"""`percepts similarity`: pictures or sounds and texts in; a table of cosines, and a heatmap, out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .output import print_json, print_table, shorten_path
from .output_options import Overwrite
from .zero_shot import Texts, read_lines

if TYPE_CHECKING:
    import numpy as np

    from ..tasks.similarity import Similarity


def similarity(
    inputs: Annotated[
        list[str], typer.Argument(metavar="FILES", help="The rows: pictures, films, sounds, or folders.")
    ],
    text: Annotated[
        list[str] | None, typer.Option("--text", "-t", metavar="TEXT", help="A column; give it for each of them.")
    ] = None,
    texts: Texts = None,
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A column that is a picture, film, sound or folder. [default: the rows]"),
    ] = None,
    model: Annotated[
        str,
        typer.Option("--model", "-m", metavar="NAME", help="An encoder: conse (pictures, no hub), CLIP, SigLIP, CLAP."),
    ] = "conse",
    templates: Annotated[
        list[str] | None,
        typer.Option("--template", metavar="TEXT", help="Words around each text, {} for the text; may be several."),
    ] = None,
    softmax: Annotated[
        Literal["columns", "rows"] | None,
        typer.Option(help="Probabilities by the model's temperature, over the columns of each row or the other way."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Draw a heatmap: png, svg or pdf.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the matrix as JSON.")] = False,
) -> None:
    """Compare pictures, films and sounds with texts or each other.

    percepts similarity photos/ --texts labels.txt -o heatmap.png
    """
    from ..tasks.similarity import similarity as compare

    columns = [*(text or ()), *read_lines(texts)]
    asked = None if texts is None and text is None else columns
    rows, others = _expand_files(inputs, model), _expand_files(to, model) if to else None
    if output is not None:
        output = _heatmap_path(output, [*rows, *(others or ()), *([texts] if texts else ())], overwrite)
    found = compare(rows, asked, to=others, model=model, templates=templates or ())
    try:
        values = found.matrix if softmax is None else found.softmax(1 if softmax == "columns" else 0)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--softmax") from error
    if output is not None:
        title = "" if softmax is None else f"softmax over {softmax}, {found.model}"
        found.heatmap(output, values=values, title=title, overwrite=overwrite)
    if as_json:
        print_json({"model": found.model, "rows": found.rows, "columns": found.columns, "values": values.tolist()})
    else:
        _print_matrix(found, values)
    if output is not None:
        typer.echo(f"drawn: {output}", err=True)


def _heatmap_path(output: Path, inputs: list[str | bytes | Path], overwrite: bool) -> Path:
    from ..tasks.heatmap import check_heatmap_file

    try:
        return check_heatmap_file(output, inputs, overwrite)[0]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--output") from error


def _print_matrix(found: Similarity, values: np.ndarray) -> None:
    """A row a source, a column a text; the names of columns that are files without their folders."""
    heads = found.columns if found.others is None else [Path(name).name for name in found.columns]
    unique = [f"{head}" if list(heads).count(head) == 1 else f"{head} ({n})" for n, head in enumerate(heads, 1)]
    rows = [
        (shorten_path(name), *(f"{value:.3f}" for value in row)) for name, row in zip(found.rows, values, strict=True)
    ]
    print_table(("", *unique), rows, right=unique)


def _expand_files(inputs: list[str], model: str) -> list[str | bytes | Path]:
    """Folders as the files in them that the model takes, in order, as a job walks them."""
    from ..jobs.sources.walk import check_inputs, find_sources
    from ..tasks.similarity import filter_supported

    found: list[str | bytes | Path] = []
    for item in check_inputs(inputs):
        listed = find_sources([item], leave_out=Path(os.devnull))
        found += filter_supported(listed, model) if os.path.isdir(item) else [item]
    return found
