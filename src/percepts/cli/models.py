"""`percepts models`: which encoders there are and what they take; which weights are here; how fast they are here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._print import print_json, print_table, size

if TYPE_CHECKING:
    from ..types import Spec

HEAD = ("name", "kind", "dim", "rate", "window", "licence", "download", "weights", "what it is")


def models(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAMES", help="Only these. [default: all]")] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Get their weights now, so that later runs need no network.")
    ] = False,
    hub: Annotated[
        bool, typer.Option("--hub", help="List the families of checkpoints that are read, and those with a short name.")
    ] = False,
    bench: Annotated[bool, typer.Option("--bench", help="Measure items per second here; needs the weights.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the encoders, or get their weights.

    percepts models --fetch conse ge2e

    percepts models openai/whisper-base --bench
    """
    from .. import encoders

    bare = [name for name in names or () if fetch and name in _weights_alone()]
    listed = names or (encoders.hub_names() if hub else encoders.names())
    rows = [encoders.spec(name) for name in listed if name not in bare]
    if fetch:
        _fetch(dict.fromkeys([*(weights for row in rows for weights in row.weights), *bare]))
    described = [describe(row) for row in rows]
    if bench:
        from ..tasks.speed import speed

        for one, row in zip(described, rows, strict=True):
            one |= speed(row)
    if as_json:
        print_json(described)
    elif described:
        print_table(HEAD, [_cells(row) for row in described], right=("dim", "rate", "window", "download"))
        for known in described if bench or names else ():
            if details := _details(known):
                typer.echo(f"{known['name']}: {details}")
        if hub:
            typer.echo(f"families: {', '.join(encoders.families())}")


def describe(row: Spec) -> dict[str, Any]:
    """A row of the registry as JSON has it, with the bytes to download and whether the weights are here."""
    from ..encoders._weights import present
    from ..encoders._weights import size as weights_size

    return {
        "name": row.name,
        "kind": row.kind,
        "dim": row.dim,
        "rate": row.rate,
        "window": row.window,
        "license": row.license,
        "weights": list(row.weights),
        "download": sum(map(weights_size, row.weights)),
        "present": all(present(name) for name in row.weights),
        "extra": row.extra,
        "summary": row.summary,
        **_of_checkpoint(row),
    }


def _weights_alone() -> set[str]:
    """Weights that no encoder goes by the name of, such as the speech detector's."""
    from .. import encoders
    from ..encoders._wheels import WEIGHTS

    return set(WEIGHTS) - set(encoders.names())


def _of_checkpoint(row: Spec) -> dict[str, Any]:
    """Of a checkpoint that is here: its family, its parameters, and the bytes they take in memory at float32."""
    from ..encoders._checkpoint import Checkpoint, is_checkpoint
    from ..encoders._weights import present

    if not row.weights or not is_checkpoint(row.weights[0]) or not present(row.weights[0]):
        return {}
    found = Checkpoint.named(row.weights[0])
    count = found.parameters()
    return {"family": found.model_type, "pool": row.pool, "parameters": count, "memory": 4 * count}


def _rate(row: dict[str, Any]) -> str:
    if row["kind"] == "video":
        return f"{row['rate']:.4g} fps"
    return f"{row['rate'] / 1000:g} kHz" if row["rate"] else ""


def _details(row: dict[str, Any]) -> str:
    parts = []
    if "parameters" in row:
        parts.append(f"{row['family']}, {row['parameters'] / 1e6:,.1f} M parameters, {size(row['memory'])} at float32")
    if "encode_per_second" in row:
        speeds = f"{row['prepare_per_second']:.1f} prepared and {row['encode_per_second']:.1f} encoded a second"
        parts.append(f"{speeds} by {row['runtime']}")
    return "; ".join(parts)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        row["kind"],
        str(row["dim"]),
        _rate(row),
        f"{row['window']:.4g} s" if row["window"] else "",
        row["license"],
        size(row["download"]) if row["download"] else "",
        ("here" if row["present"] else "not here") if row["weights"] else "needs none",
        row["summary"],
    )


def _fetch(names: dict[str, None]) -> None:
    from ..encoders import _weights

    with _download() as on_progress:
        _weights.fetch(names, on_progress=on_progress)


@contextmanager
def _download() -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar a download on a terminal; elsewhere nothing, the log says what is fetched."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def update(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done)

        yield update
