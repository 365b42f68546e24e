"""`percepts diarize`: recordings in, who spoke when out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ._print import printable, span

if TYPE_CHECKING:
    from ..tasks.diarize import Diarization
    from ..timeline.subtitles import Format

SHAPES: tuple[Format, ...] = ("rttm", "json", "srt", "vtt", "tsv")
"""Of those that hold times."""


def diarize(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="Recordings, or films with sound.")],
    formats: Annotated[
        str,
        typer.Option("--format", "-f", metavar="FORMATS", help=f"How to write the turns: of {', '.join(SHAPES)}."),
    ] = "rttm",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Write a file per recording and format here, not to stdout."
        ),
    ] = None,
    speakers: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many speak, if you know it.")] = None,
    min_speakers: Annotated[int, typer.Option(min=1, metavar="N", help="At least so many speak.")] = 1,
    max_speakers: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many speak.")] = 20,
    voices: Annotated[
        list[str] | None,
        typer.Option("--voice", metavar="NAME=FILE", help="A known voice, by a recording of it; any number of them."),
    ] = None,
    vad: Annotated[
        Literal["silero", "energy"], typer.Option(help="What finds speech; energy needs no weights.")
    ] = "silero",
) -> None:
    """Find who speaks when, without being told how many they are.

    percepts diarize meeting.wav -f rttm
    """
    chosen = _shapes(formats)
    if output is None and (len(files) > 1 or len(chosen) > 1):
        raise typer.BadParameter("more than one file to write: give -o DIR", param_hint="--output")
    if min_speakers > max_speakers:
        raise typer.BadParameter(f"at least {min_speakers} and at most {max_speakers}", param_hint="--min-speakers")
    from ..tasks import diarize as task

    known = dict(_voice(text) for text in voices or [])
    names, failed = _names(files), 0
    for path in files:
        try:
            found = task.diarize(
                path, speakers=speakers, min_speakers=min_speakers, max_speakers=max_speakers, voices=known, vad=vad
            )
        except (ValueError, OSError) as error:  # a MediaError is a ValueError
            if len(files) == 1:
                raise
            typer.secho(f"percepts: {printable(' '.join(str(error).split()))}", err=True, fg=typer.colors.RED)
            failed += 1
            continue
        _give(found, names[path], chosen, output)
    if failed:
        raise typer.Exit(3)


def _shapes(text: str) -> list[Format]:
    """Formats between commas."""
    asked = [name.strip().lower() for name in text.split(",")]
    unknown = [name for name in asked if name not in SHAPES]
    if unknown:
        raise typer.BadParameter(f"expected some of {', '.join(SHAPES)}, got {unknown[0]!r}", param_hint="--format")
    return [name for name in SHAPES if name in asked]


def _voice(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name.strip() and equals and path):
        raise typer.BadParameter(f"expected NAME=FILE, got {text!r}", param_hint="--voice")
    return name.strip(), Path(path)


def _names(files: Sequence[Path]) -> dict[Path, str]:
    """What to call the results: as the files without their endings, with them where two would be the same."""
    counts = Counter(path.stem for path in files)
    return {path: path.stem if counts[path.stem] == 1 else path.name for path in files}


def _give(found: Diarization, name: str, formats: Sequence[Format], output: Path | None) -> None:
    from ..timeline.subtitles import write

    for format in formats:
        text = write(found.turns, format, source=name)
        if output is None:
            typer.echo(text, nl=False)
        else:
            output.mkdir(parents=True, exist_ok=True)
            (output / f"{name}.{format}").write_text(text, "utf-8")
    told = f"{len(found.speakers)} speakers, {span(found.speech)} of speech in {span(found.duration)}"
    typer.echo(f"{printable(name)}: {told}", err=True)
