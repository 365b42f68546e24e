"""Define `percepts models`, which lists encoders, fetches their weights and measures their speed."""

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
    names: Annotated[list[str] | None, typer.Argument(metavar="NAMES", help="Encoders to list. [default: all]")] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Download their weights now, so that later runs need no network.")
    ] = False,
    hub: Annotated[
        bool,
        typer.Option(
            "--hub",
            help="List the families of Hugging Face models that percepts reads, and the models with short names.",
        ),
    ] = False,
    bench: Annotated[
        bool,
        typer.Option(
            "--bench", help="Measure their speed on this machine. [default: those whose weights are downloaded]"
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the encoders, or download their weights.

    percepts models --fetch conse ge2e

    percepts models openai/whisper-base --bench
    """
    from .. import encoders
    from ..encoders.describe import collect_facts, describe_model

    # silero is no encoder, but a machine without a network needs its weights, too.
    bare = [name for name in names or () if fetch and name in _standalone_weights()]
    listed = names or (encoders.list_hub_models() if hub else encoders.list_models())
    rows, others = [], []
    for name in listed:
        try:
            # Their names are no encoders, and would be unknown models below.
            rows += [encoders.model_spec(name)] if name not in bare else []
        except UnknownModel:
            others.append(describe_model(name))  # a model that is no encoder; an unknown name raises again
    if fetch:
        # A dict drops weights that two encoders share, and keeps the order.
        _fetch_weights(dict.fromkeys([*(weights for row in rows for weights in row.weights), *bare]))
    described = [describe_model(row) if names else collect_facts(row) for row in rows]
    if bench:
        from ..tasks.benchmark import measure_speed

        for facts, row in zip(described, rows, strict=True):
            if names or facts["present"]:  # download only what the user named
                facts |= measure_speed(row)
    if as_json:
        print_json([*described, *others])
        return
    if described:
        print_table(HEAD, [_model_cells(row) for row in described], right=("dim", "rate", "window", "download"))
    if described or others:
        # Only of models that were named: for the whole list it would be a page.
        for known in [*described, *others] if bench or names else ():
            if details := _model_details(known):
                typer.echo(f"{known['name']}: {details}")
        if hub:
            typer.echo(f"families: {', '.join(encoders.list_families())}")


def _standalone_weights() -> set[str]:
    """Return the names of weights that are not an encoder's, such as the speech detector's."""
    from .. import encoders
    from ..weights.wheel_table import WHEELS

    return set(WHEELS) - set(encoders.list_models())


def _format_rate(row: dict[str, Any]) -> str:
    if row["kind"] == "video":
        return f"{row['rate']:.4g} fps"
    return f"{row['rate'] / 1000:g} kHz" if row["rate"] else ""  # images and texts have no rate


def _model_details(row: dict[str, Any]) -> str:
    parts = []
    if "parameters" in row:
        count = f"{row['parameters'] / 1e6:,.1f} M parameters, {format_size(row['memory'])} at float32"
        parts.append(f"{row['family']}, {count}" if "family" in row else count)
    if row.get("outputs"):
        labels = f" ({row['labels']:,})" if row["labels"] else ""
        parts.append(f"gives {', '.join(row['outputs']).replace('labels', f'labels{labels}')}")
    if "encode_per_second" in row:
        speeds = f"{row['prepare_per_second']:.1f} prepared and {row['encode_per_second']:.1f} encoded per second"
        parts.append(f"{speeds} with {row['runtime']}")
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
        ("downloaded" if row["present"] else "not downloaded") if row["weights"] else "none needed",
        row["summary"],
    )


def _fetch_weights(names: dict[str, None]) -> None:
    from .. import weights as weight_files

    with _show_downloads() as on_progress:
        weight_files.fetch_weights(names, on_progress=on_progress)


@contextmanager
def _show_downloads() -> Iterator[Callable[[str, int, int], None] | None]:
    """Yield a callback that draws a bar per download on a terminal; elsewhere None, and the log names the downloads."""
    if not sys.stderr.isatty():  # a bar redraws its line, which fills a log file
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
    # On stderr: the list on stdout may be piped.
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def update(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done)

        yield update
