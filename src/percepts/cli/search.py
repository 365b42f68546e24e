"""`percepts search`: a text, a picture or a sound in; the nearest sources and their moments out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ._print import clock, print_json, print_table, shown_path

if TYPE_CHECKING:
    from ..tasks.search import Hit


def search(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A job directory of `percepts embed`.")],
    query: Annotated[str | None, typer.Argument(metavar="WORDS", help="What to look for, in words.")] = None,
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="Look for what is like this picture.")] = None,
    sound: Annotated[Path | None, typer.Option(metavar="FILE", help="Look for what is like this sound.")] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, metavar="N", help="How many to show.")] = 10,
    kind: Annotated[Literal["image", "audio", "video"] | None, typer.Option(help="Only in these media.")] = None,
    folder: Annotated[str | None, typer.Option(metavar="DIR", help="Only in sources below this folder.")] = None,
    after: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Only what begins at this second of its source or later."),
    ] = None,
    before: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Only what begins before this second of its source.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="Only in this encoder's vectors.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the hits as JSON.")] = False,
) -> None:
    """Find pictures and moments by words, by a picture or by a sound.

    percepts search vectors/ "a cup of coffee"
    """
    if sum(asked is not None for asked in (query, image, sound)) != 1:
        raise typer.BadParameter("give one of: words, --image FILE, --sound FILE", param_hint="WORDS")
    from ..tasks.search import search as run

    hits = run(
        directory,
        query,
        image=image,
        sound=sound,
        k=k,
        kind=kind,
        folder=folder,
        after=after,
        before=before,
        model=model,
    )
    if as_json:
        print_json({"model": hits.model, "recall": hits.recall, "hits": [as_row(hit) for hit in hits]})
    elif hits:
        print_table(("score", "source", "time"), [(f"{hit.score:.3f}", *_where(hit)) for hit in hits], right=("score",))
    else:
        typer.echo(f"nothing found: no vector of {hits.model} passes the filters", err=True)
    if hits.recall is not None and not as_json:
        typer.echo(f"from an index that finds {hits.recall:.1%} of the ten nearest of such a query", err=True)


def as_row(hit: Hit) -> dict[str, Any]:
    """A hit as JSON has it."""
    record = hit.record
    return {
        "score": round(float(hit.score), 6),
        "source": record.source,
        "kind": record.kind,
        "start": record.start,
        "stop": record.stop,
        "model": record.model,
        "labels": list(record.labels),
    }


def _where(hit: Hit) -> tuple[str, str]:
    record = hit.record
    return shown_path(record.source), "" if record.kind == "image" else clock(record.start)
