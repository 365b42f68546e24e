"""Define `percepts align`, which finds when each word of a known text was said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..support.formats import FORMATS, SPOKEN_FORMATS
from ..support.text import read_text
from .output import escape_text, print_table

if TYPE_CHECKING:
    from ..types import Segment

OUTPUTS = ("words", *SPOKEN_FORMATS)
"""`words` is a table with a line per word; the others are files of segments."""


def align(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Audio file, or video with audio.")],
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="Text that is spoken in the file.")] = None,
    text_file: Annotated[
        Path | None, typer.Option("--text-file", metavar="FILE", help="Text file with one segment per line.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="NAME", help="CTC model, by Hugging Face id or folder; sphinx works offline."
        ),
    ] = "sphinx",
    format: Annotated[
        str, typer.Option("--format", "-f", metavar="FORMAT", help=f"Output format: {', '.join(OUTPUTS)}.")
    ] = "words",
    highlight: Annotated[
        bool, typer.Option("--highlight-words", help="Underline each word while it is spoken, in srt and vtt.")
    ] = False,
) -> None:
    """Find when each word of a known text was said.

    percepts align talk.flac --text "Ask not what your country can do for you"
    """
    if (text is None) == (text_file is None):
        raise typer.BadParameter("give one of --text and --text-file", param_hint="--text")
    if format not in OUTPUTS:
        raise typer.BadParameter(f"expected one of {', '.join(OUTPUTS)}, got {format!r}", param_hint="--format")
    transcript = _read_text(text_file) if text_file is not None else text or ""
    # After the options are checked, since it imports the engines.
    from ..tasks.align import align as run

    segments = run(file, transcript, model)
    if format == "words":
        _print_words(segments)
        return
    from ..timeline.segments import SubtitleLayout
    from ..timeline.subtitles import write_segments

    # The type checker needs a Format, and `format` is a str.
    name = next(name for name in FORMATS if name == format)
    typer.echo(write_segments(segments, name, lines=SubtitleLayout(highlight=highlight), source=file.name), nl=False)


def _read_text(path: Path) -> str:
    try:
        return read_text(path)
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{path}: expected text in UTF-8: {error}", param_hint="--text-file") from error


def _print_words(segments: list[Segment]) -> None:
    """Print a table with one line per word."""
    rows = [
        (f"{word.start:.2f}", f"{word.stop:.2f}", "" if word.score is None else f"{word.score:.2f}",
         escape_text(word.text.strip()))
        for segment in segments
        for word in segment.words
    ]  # fmt: skip
    print_table(("start", "stop", "score", "word"), rows, right=("start", "stop", "score"))
