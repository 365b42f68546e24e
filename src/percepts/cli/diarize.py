"""`percepts diarize`: recordings in, who spoke when out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .job_options import JobOptions, Output, run_job, with_job_options
from .output import escape_text, format_count, format_duration, print_json

if TYPE_CHECKING:
    from ..tasks.diarize import Diarization
    from ..timeline.subtitles import Format

SHAPES: tuple[Format, ...] = ("rttm", "json", "srt", "vtt", "tsv")
"""Of one recording; those that hold times."""


@with_job_options
def diarize(
    *,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES", help="Recordings, films, folders of them, URLs of a --host. None with --retry-failed."
        ),
    ] = None,
    output: Output = None,
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
    backend: Annotated[
        Literal["ge2e", "pyannote"], typer.Option(help="What tells voices apart; pyannote needs its package and model.")
    ] = "ge2e",
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME", help="pyannote's pipeline, by folder or hub id.")
    ] = "",
    online: Annotated[
        bool, typer.Option("--online", help="Tell who speaks as it goes on, a line a turn; FILE may be - for a pipe.")
    ] = False,
    job: JobOptions,
) -> None:
    """Find who speaks when, without being told how many they are.

    The turns of one recording are written to stdout. With -o DIR it is a job over any number of files and folders: run
    it again to go on after an interruption or to add sources.

    percepts diarize meeting.wav -f rttm

    percepts diarize meetings/ -o turns/ -f rttm,json

    ffmpeg -i URL -f wav - | percepts diarize - --online
    """
    if min_speakers > max_speakers:
        raise typer.BadParameter(f"at least {min_speakers} and at most {max_speakers}", param_hint="--min-speakers")
    known = dict(_parse_voice(text) for text in voices or [])
    if backend != "pyannote" and model:
        raise typer.BadParameter("only --backend pyannote takes a model", param_hint="--model")
    if backend == "pyannote" and known:
        raise typer.BadParameter("pyannote knows no voices by name: use the default backend", param_hint="--voice")
    if online:
        if not inputs or len(inputs) > 1 or output is not None or backend == "pyannote" or known:
            raise typer.BadParameter("takes one file or -, and no -o, --voice or --backend", param_hint="--online")
        _diarize_online(inputs[0], speakers, min_speakers, max_speakers, vad, as_json=job.as_json)
        return
    format = _single_format(inputs, job) if output is None else None
    from ..tasks.diarize import DiarizeTask

    task = DiarizeTask.create(
        known, vad=vad, backend=backend, model=model, speakers=speakers, min_speakers=min_speakers,
        max_speakers=max_speakers,
    )  # fmt: skip
    if format is not None and inputs:
        _write_result(task.run_one(inputs[0]), format, as_json=job.as_json)
        return
    run_job(task, inputs, output, job, done="diarized", row="turn")


def _diarize_online(
    source: str, speakers: int | None, least: int, most: int, vad: Literal["silero", "energy"], *, as_json: bool
) -> None:
    """A line as soon as a turn is certain: RTTM, or JSON."""
    from ..media.capture import stream_pipe
    from ..tasks.diarize import diarize_online
    from ..timeline.segments import to_row
    from ..timeline.subtitles import write_segments

    sound = stream_pipe(sys.stdin.buffer) if source == "-" else source
    name = "stdin" if source == "-" else Path(source).stem
    for turn in diarize_online(sound, speakers=speakers, min_speakers=least, max_speakers=most, vad=vad):
        print(json.dumps(to_row(turn)) if as_json else write_segments([turn], "rttm", source=name).rstrip(), flush=True)


def _single_format(inputs: list[str] | None, job: JobOptions) -> Format:
    """The format in which the one file can go to stdout."""
    if not inputs:
        raise typer.BadParameter("expected a file", param_hint="FILES")
    formats = job.chosen_formats if job.formats else ("rttm",)
    unknown = [name for name in formats if name not in SHAPES]
    if unknown:
        raise typer.BadParameter(f"expected some of {', '.join(SHAPES)}, got {unknown[0]!r}", param_hint="--format")
    if len(inputs) > 1 or len(formats) > 1 or Path(inputs[0]).is_dir():
        raise typer.BadParameter("more than one file to write: give -o DIR", param_hint="--output")
    return next(name for name in SHAPES if name == formats[0])


def _parse_voice(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name.strip() and equals and path):
        raise typer.BadParameter(f"expected NAME=FILE, got {text!r}", param_hint="--voice")
    return name.strip(), Path(path)


def _write_result(found: Diarization, format: Format, *, as_json: bool) -> None:
    from ..timeline.segments import to_row
    from ..timeline.subtitles import write_segments

    name = Path(found.source).stem
    if as_json:
        turns = [to_row(turn) for turn in found.turns]
        facts = {"source": found.source, "duration": found.duration, "speech": found.speech, "notes": found.notes}
        print_json(facts | {"speakers": sorted(found.speakers), "turns": turns})
    else:
        typer.echo(write_segments(found.turns, format, source=name), nl=False)
    speakers = len({turn.speaker for turn in found.turns})
    duration = f"{format_duration(found.speech)} of speech in {format_duration(found.duration)}"
    told = f"{format_count(speakers, 'speaker')}, {duration}"
    typer.echo(f"{escape_text(name)}: {told}", err=True)
