"""`percepts search`: a text, a picture or a sound in; the nearest sources and their moments out."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .output import format_clock, print_json, print_table, shorten_path

if TYPE_CHECKING:
    from ..tasks.search import Hit


def search(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR... [WORDS]",
            help="Job directories, of `percepts embed`, `classify`, `transcribe` and others; then what to look for.",
        ),
    ],
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
    """Find pictures and moments by words, a picture or a sound.

    Words are looked for among vectors, labels, captions and transcripts; what matched is told.

    percepts search vectors/ "a cup of coffee"

    percepts search vectors/ captions/ "a cup of coffee"
    """
    directories, query = _split_arguments(arguments, image is not None or sound is not None)
    if sum(asked is not None for asked in (query, image, sound)) != 1:
        raise typer.BadParameter("give one of: words, --image FILE, --sound FILE", param_hint="WORDS")
    from ..tasks.search import search as run

    hits = run(
        directories,
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
        told = any(match.by != "vector" for hit in hits for match in hit.matches)
        head = ("score", "source", "time", *(("matched",) if told else ()))
        rows = [(f"{hit.score:.3f}", *_describe_place(hit), *((_describe_match(hit),) if told else ())) for hit in hits]
        print_table(head, rows, right=("score",))
    else:
        typer.echo(f"nothing found: nothing of {hits.model} fits, or passes the filters", err=True)
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
        "text": record.text,
        "matched": [asdict(match) for match in hit.matches],
    }


def _split_arguments(arguments: list[str], media: bool) -> tuple[list[str], str | None]:
    """The directories, and the words after them unless a picture or a sound is asked with and they are a directory."""
    if len(arguments) == 1 or (media and os.path.isdir(arguments[-1])):
        return arguments, None
    return arguments[:-1], arguments[-1]


def _describe_match(hit: Hit) -> str:
    """By what it was found, the words asked for, and what is said there."""
    reasons = [match.by if match.by == "vector" else f"{match.by} ({', '.join(match.words)})" for match in hit.matches]
    text = " ".join((hit.record.text or "").split())
    return "; ".join([*reasons, *([text if len(text) <= 80 else f"{text[:79]}…"] if text else [])])


def _describe_place(hit: Hit) -> tuple[str, str]:
    record = hit.record
    at = next((match.at for match in hit.matches if match.at is not None), record.start)
    return shorten_path(record.source), "" if record.kind == "image" else format_clock(at)
