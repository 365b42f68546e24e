"""Define `percepts diarize`, which finds who speaks when."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..support.formats import TIMED_FORMATS, Format
from .job_options import JobOptions, Output, run_job, single_file, with_job_options
from .output import escape_text, format_count, format_duration, print_json
from .speech_options import AudioInputs, Detector, SpeakerOptions

if TYPE_CHECKING:
    from ..tasks.diarize import Diarization

TURN_FORMATS: tuple[Format, ...] = ("rttm", *(name for name in TIMED_FORMATS if name != "rttm"))
"""Formats for the turns of one file: those that hold times. rttm, the format of diarization, is the default."""


@with_job_options
def diarize(
    *,
    inputs: AudioInputs = None,
    output: Output = None,
    speaker: SpeakerOptions,
    voices: Annotated[
        list[str] | None,
        typer.Option("--voice", metavar="NAME=FILE", help="Name of a speaker and a recording of them; repeatable."),
    ] = None,
    vad: Detector = "silero",
    backend: Annotated[
        Literal["ge2e", "pyannote"],
        typer.Option(help="Model that tells voices apart; pyannote needs its package and weights."),
    ] = "ge2e",
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME", help="pyannote pipeline, by folder or Hugging Face id.")
    ] = "",
    online: Annotated[
        bool, typer.Option("--online", help="Print each turn as soon as it is certain; FILE may be - for a pipe.")
    ] = False,
    job: JobOptions,
) -> None:
    """Find who speaks when; the number of speakers may be unknown.

    The turns of one file are printed. With -o DIR any number of files and folders go to a directory: run it again to
    resume after an interruption or to add files.

    percepts diarize meeting.wav -f rttm

    percepts diarize meetings/ -o turns/ -f rttm,json

    ffmpeg -i URL -f wav - | percepts diarize - --online
    """
    # A name that is given twice keeps its last recording, as options do.
    known = dict(_parse_voice(text) for text in voices or [])
    # Refused and not ignored: a user would believe the model was used.
    if backend != "pyannote" and model:
        raise typer.BadParameter("only --backend pyannote takes a model", param_hint="--model")
    if backend == "pyannote" and known:
        raise typer.BadParameter("pyannote takes no voices by name: use the default backend", param_hint="--voice")
    if online:
        if not inputs or len(inputs) > 1 or output is not None or backend == "pyannote" or known:
            raise typer.BadParameter("takes one file or -, without -o, --voice and --backend", param_hint="--online")
        _diarize_online(inputs[0], speaker, vad, as_json=job.as_json)
        return
    format = single_file(inputs, job, TURN_FORMATS)[1] if output is None else None
    from ..tasks.diarize import DiarizeTask

    task = DiarizeTask.create(known, vad=vad, backend=backend, model=model, **asdict(speaker))
    if format is not None and inputs:
        _write_result(task.run_one(inputs[0]), format, as_json=job.as_json)
        return
    run_job(task, inputs, output, job, done="diarized", row="turn")


def _diarize_online(source: str, speaker: SpeakerOptions, vad: Literal["silero", "energy"], *, as_json: bool) -> None:
    """Print each turn as soon as it is certain, as RTTM or JSON."""
    from ..media.capture import stream_pipe
    from ..tasks.diarize import diarize_online
    from ..timeline.segments import to_row
    from ..timeline.subtitles import write_segments

    audio = stream_pipe(sys.stdin.buffer) if source == "-" else source
    # RTTM names a recording without its folder and its ending.
    name = "stdin" if source == "-" else Path(source).stem
    for turn in diarize_online(audio, **asdict(speaker), vad=vad):
        # Flushed at each turn: a pipe is buffered, and its reader waits for this one.
        print(json.dumps(to_row(turn)) if as_json else write_segments([turn], "rttm", source=name).rstrip(), flush=True)


def _parse_voice(text: str) -> tuple[str, Path]:
    # The first one: a path may hold others.
    name, equals, path = text.partition("=")
    if not (name.strip() and equals and path):
        raise typer.BadParameter(f"expected NAME=FILE, got {text!r}", param_hint="--voice")
    return name.strip(), Path(path)


def _write_result(result: Diarization, format: Format, *, as_json: bool) -> None:
    from ..timeline.segments import to_row
    from ..timeline.subtitles import write_segments

    name = Path(result.source).stem
    if as_json:
        turns = [to_row(turn) for turn in result.turns]
        facts = {"source": result.source, "duration": result.duration, "speech": result.speech, "notes": result.notes}
        print_json(facts | {"speakers": sorted(result.speakers), "turns": turns})
    else:
        typer.echo(write_segments(result.turns, format, source=name), nl=False)  # the text ends its own lines
    count = format_count(len({turn.speaker for turn in result.turns}), "speaker")
    duration = f"{format_duration(result.speech)} of speech in {format_duration(result.duration)}"
    # To stderr, so that the turns can be piped.
    typer.echo(f"{escape_text(name)}: {count}, {duration}", err=True)
