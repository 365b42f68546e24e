"""Define `percepts similarity`, which compares media with texts or with each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .errors import usage_errors
from .old_options import OldOption, with_old_options
from .output import print_json, print_table, shorten_path
from .output_options import Overwrite
from .zero_shot import Texts, read_lines

if TYPE_CHECKING:
    import numpy as np

    from ..tasks.similarity import Similarity


@with_old_options(OldOption("--to", list[str], "against", "--against"))
def similarity(
    inputs: Annotated[
        list[str], typer.Argument(metavar="FILES", help="Rows of the table: images, video, audio, or folders of them.")
    ],
    text: Annotated[
        list[str] | None, typer.Option("--text", "-t", metavar="TEXT", help="Text of a column; repeatable.")
    ] = None,
    texts: Texts = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="File or folder to compare the rows with; repeatable. [default: the rows themselves]"
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="NAME", help="Encoder: conse (images, works offline), CLIP, SigLIP or CLAP."
        ),
    ] = "conse",
    templates: Annotated[
        list[str] | None,
        typer.Option("--template", metavar="TEXT", help="Sentence around each text, with {} for the text; repeatable."),
    ] = None,
    softmax: Annotated[
        Literal["columns", "rows"] | None,
        typer.Option(help="Turn similarities into probabilities over the columns of each row, or over its rows."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Heatmap file to draw: png, svg or pdf.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the matrix as JSON.")] = False,
) -> None:
    """Compare images, audio and video with texts or each other.

    percepts similarity photos/ --texts labels.txt -o heatmap.png
    """
    from ..tasks.similarity import similarity as compare

    columns = None if texts is None and text is None else [*(text or ()), *read_lines(texts)]
    rows, others = _expand_files(inputs, model), _expand_files(against, model) if against else None
    if output is not None:  # a name that cannot be drawn to is refused before the model is loaded
        output = _heatmap_path(output, [*rows, *(others or ()), *([texts] if texts else ())], overwrite)
    result = compare(rows, columns, against=others, model=model, templates=templates or ())
    # An encoder without a trained scale has no softmax.
    with usage_errors("--softmax"):
        values = result.matrix if softmax is None else result.softmax(1 if softmax == "columns" else 0)
    # The image comes first: with -o /dev/stdout a reader of images finds its beginning there.
    if output is not None:
        title = "" if softmax is None else f"softmax over {softmax}, {result.model}"
        result.heatmap(output, values=values, title=title, overwrite=overwrite)
        # The name may differ from the one given: .png is added.
        typer.echo(f"Heatmap written to {output}.", err=True)
    if as_json:
        print_json({"model": result.model, "rows": result.rows, "columns": result.columns, "values": values.tolist()})
    else:
        _print_matrix(result, values)


def _heatmap_path(output: Path, inputs: list[str | bytes | Path], overwrite: bool) -> Path:
    from ..tasks.heatmap import check_heatmap_file

    with usage_errors("--output"):
        return check_heatmap_file(output, inputs, overwrite)[0]


def _print_matrix(result: Similarity, values: np.ndarray) -> None:
    """Print a row per file and a column per text; columns that are files are named without their folder."""
    heads = result.columns if result.others is None else [Path(name).name for name in result.columns]
    # Files in two folders may have one name, and columns are aligned by theirs.
    unique = [f"{head}" if list(heads).count(head) == 1 else f"{head} ({n})" for n, head in enumerate(heads, 1)]
    rows = [
        (shorten_path(name), *(f"{value:.3f}" for value in row)) for name, row in zip(result.rows, values, strict=True)
    ]
    print_table(("", *unique), rows, right=unique)


def _expand_files(inputs: list[str], model: str) -> list[str | bytes | Path]:
    """Replace folders by the files in them that the model takes, in the order of a job."""
    from ..jobs.sources.walk import check_inputs, find_sources
    from ..tasks.similarity import filter_supported

    files: list[str | bytes | Path] = []
    for item in check_inputs(inputs):
        # There is no job directory that the walk would have to leave out.
        listed = find_sources([item], leave_out=Path(os.devnull))
        # A file that the user named is kept even where the model cannot take it: compare() says why.
        files += filter_supported(listed, model) if os.path.isdir(item) else [item]
    return files
