"""Define `percepts merge`, which combines the shards of a job into one directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .output import format_count


def merge(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory that the runs with --shard wrote to.")],
) -> None:
    """Combine the shards of --shard into one job directory.

    The rows are the same as those of a single run. Run it again when the shards have grown.

    percepts merge vectors/
    """
    from ..jobs.merge import merge as run
    from ..stores.remote import display_name

    counts = run(directory)
    files, rows = format_count(counts["sources"], "file"), format_count(counts["rows"], "row")
    # display_name, since the directory may be an address in an object store.
    typer.echo(f"{display_name(directory)}: {files}, {counts['error']:,} failed, {rows}")
