"""`percepts align`: a recording and its text in, when each word was said out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..support.text import read_text
from .output import escape_text, print_table

if TYPE_CHECKING:
    from ..types import Segment

SHAPES = ("words", "json", "srt", "vtt", "tsv", "txt")


def align(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording, or a film with sound.")],
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="What is said in it.")] = None,
    text_file: Annotated[
        Path | None, typer.Option("--text-file", metavar="FILE", help="The same, in a file: a line is a segment.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="NAME", help="A CTC checkpoint by hub id or folder; sphinx needs no hub."
        ),
    ] = "sphinx",
    format: Annotated[
        str, typer.Option("--format", "-f", metavar="FORMAT", help=f"One of {', '.join(SHAPES)}.")
    ] = "words",
    highlight: Annotated[
        bool, typer.Option("--highlight-words", help="In srt and vtt, underline the word being said.")
    ] = False,
) -> None:
    """Find when each word of a known text was said.

    percepts align talk.flac --text "Ask not what your country can do for you"
    """
    if (text is None) == (text_file is None):
        raise typer.BadParameter("give one of --text and --text-file", param_hint="--text")
    if format not in SHAPES:
        raise typer.BadParameter(f"expected one of {', '.join(SHAPES)}, got {format!r}", param_hint="--format")
    said = _read_text(text_file) if text_file is not None else text or ""
    from ..tasks.align import align as laid

    found = laid(file, said, model)
    if format == "words":
        _print_words(found)
        return
    from ..timeline.segments import SubtitleLayout
    from ..timeline.subtitles import write_segments

    typer.echo(write_segments(found, format, lines=SubtitleLayout(highlight=highlight), source=file.name), nl=False)  # type: ignore[arg-type]


def _read_text(path: Path) -> str:
    try:
        return read_text(path)
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{path}: expected text in UTF-8: {error}", param_hint="--text-file") from error


def _print_words(found: list[Segment]) -> None:
    """A line a word; a file of many words is read by programs, as is a table."""
    rows = [
        (f"{word.start:.2f}", f"{word.stop:.2f}", "" if word.score is None else f"{word.score:.2f}",
         escape_text(word.text.strip()))
        for segment in found
        for word in segment.words
    ]  # fmt: skip
    print_table(("start", "stop", "score", "word"), rows, right=("start", "stop", "score"))
