"""`percepts merge`: the shares of `--shard I/N` in, one job directory out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def merge(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="What the runs with --shard had for --output.")],
) -> None:
    """Put the shares of --shard into one job directory.

    The rows are those of a single run. Run it again when the shares have grown.

    percepts merge vectors/
    """
    from ..jobs.merge import merge as run
    from ..stores.remote import display_name

    counts = run(directory)
    told = ", ".join(f"{counts[name]:,} {name}" for name in ("sources", "error", "rows"))
    typer.echo(f"{display_name(directory)}: {told.replace('error', 'failed')}")
