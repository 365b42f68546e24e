"""Define `percepts search`, which finds files and moments by a text, an image or audio."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .old_options import OldOption, with_old_options
from .output import format_clock, print_json, print_table, shorten_path

if TYPE_CHECKING:
    from ..tasks.search import Hit


@with_old_options(OldOption("--sound", Path, "audio", "--audio"), OldOption("--folder", str, "under", "--under"))
def search(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR... [WORDS]",
            help="Job directories made by `percepts embed`, `classify`, `transcribe` or others, then the search words.",
        ),
    ],
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="Find what is like this image.")] = None,
    audio: Annotated[Path | None, typer.Option(metavar="FILE", help="Find what sounds like this file.")] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, metavar="N", help="Number of results.")] = 10,
    kind: Annotated[
        Literal["image", "audio", "video"] | None, typer.Option(help="Search this kind of file only.")
    ] = None,
    under: Annotated[str | None, typer.Option(metavar="DIR", help="Search files below this folder only.")] = None,
    after: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Search moments that start at this second of their file or later."),
    ] = None,
    before: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Search moments that start before this second of their file."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="Search this encoder's vectors only.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Find files and moments by words, an image or audio.

    Words are searched in vectors, labels, captions and transcripts; the column `matched` says where they were found.

    percepts search vectors/ "a cup of coffee"

    percepts search vectors/ captions/ "a cup of coffee"
    """
    directories, query = _split_arguments(arguments, image is not None or audio is not None)
    # Here too, so that it is an error of usage with the names of the options.
    if sum(given is not None for given in (query, image, audio)) != 1:
        raise typer.BadParameter("give one of: words, --image FILE, --audio FILE", param_hint="WORDS")
    from ..tasks.search import search as run

    hits = run(
        directories,
        query,
        image=image,
        audio=audio,
        k=k,
        kind=kind,
        under=under,
        after=after,
        before=before,
        model=model,
    )
    if as_json:
        print_json({"model": hits.model, "recall": hits.recall, "hits": [as_row(hit) for hit in hits]})
    elif hits:
        # Results by vector alone all match in the same way: a column would repeat it.
        explained = any(match.by != "vector" for hit in hits for match in hit.matches)
        head = ("score", "source", "time", *(("matched",) if explained else ()))
        rows = [
            (f"{hit.score:.3f}", *_describe_place(hit), *((_describe_match(hit),) if explained else ())) for hit in hits
        ]
        print_table(head, rows, right=("score",))
    else:
        filters = {"--kind": kind, "--under": under, "--after": after, "--before": before}
        given = " ".join(f"{name} {value}" for name, value in filters.items() if value is not None)
        advice = f"; the search was limited by {given}" if given else ""
        # No error: nothing found is an answer, and stdout stays empty.
        typer.echo(f"No results in {hits.model}{advice}.", err=True)
    if hits.recall is not None and not as_json:
        typer.echo(f"The index is approximate: it finds {hits.recall:.1%} of the ten nearest vectors.", err=True)


def as_row(hit: Hit) -> dict[str, Any]:
    """Return a result as `--json` prints it."""
    record = hit.record
    return {
        "score": round(float(hit.score), 6),  # float32 has no more digits
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
    """Return the directories and the words after them; with a query file, a last directory is not words."""
    if len(arguments) == 1 or (media and os.path.isdir(arguments[-1])):
        return arguments, None
    # DIR... takes every argument, so the query is split off here.
    return arguments[:-1], arguments[-1]


def _describe_match(hit: Hit) -> str:
    """Return how a result was found, with the words that matched, and the text of that moment."""
    reasons = [match.by if match.by == "vector" else f"{match.by} ({', '.join(match.words)})" for match in hit.matches]
    # Line breaks of a subtitle would break the table.
    text = " ".join((hit.record.text or "").split())
    return "; ".join([*reasons, *([text if len(text) <= 80 else f"{text[:79]}…"] if text else [])])


def _describe_place(hit: Hit) -> tuple[str, str]:
    record = hit.record
    # The word that matched may be said long after its segment begins.
    at = next((match.at for match in hit.matches if match.at is not None), record.start)
    return shorten_path(record.source), "" if record.kind == "image" else format_clock(at)
