"""`percepts transcribe`: recordings and films in, what is said in them out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .job_options import JobOptions, Output, run_job, with_job_options
from .output import escape_text, format_duration, print_json
from .progress import show_transcribe_progress
from .speech_options import SpeechOptions, as_usage

if TYPE_CHECKING:
    from ..speech.results import Transcript
    from ..timeline.segments import SubtitleLayout
    from ..timeline.subtitles import Format


@with_job_options
def transcribe(
    *,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES", help="Recordings, films, folders of them, URLs of a --host. None with --retry-failed."
        ),
    ] = None,
    output: Output = None,
    speech: SpeechOptions,
    word_timestamps: Annotated[bool, typer.Option("--word-timestamps", help="Say when each word was said.")] = False,
    batch_size: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Windows through the model at once. More than 1: faster, cut in pauses."),
    ] = 1,
    diarize: Annotated[bool, typer.Option("--diarize", help="Say of every word who spoke it.")] = False,
    speakers: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many speak, if you know it.")] = None,
    min_speakers: Annotated[int, typer.Option(min=1, metavar="N", help="At least so many speak.")] = 1,
    max_speakers: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many speak.")] = 20,
    max_line_width: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Characters to a line of srt and vtt.")
    ] = None,
    max_line_count: Annotated[int | None, typer.Option(min=1, metavar="N", help="Lines to a subtitle.")] = None,
    highlight_words: Annotated[
        bool, typer.Option("--highlight-words", help="Underline the word that is being said, in srt and vtt.")
    ] = False,
    job: JobOptions,
) -> None:
    """Write down what is said in recordings and films.

    They may be of any length. One file is written to stdout, as text or in the format of -f. With -o DIR it is a job
    over any number of files and folders: run it again to go on after an interruption or to add sources.

    percepts transcribe talk.flac --model openai/whisper-base -f srt

    percepts transcribe talks/ -o transcripts/ -f srt,json
    """
    if min_speakers > max_speakers:
        raise typer.BadParameter(f"at least {min_speakers} and at most {max_speakers}", param_hint="--min-speakers")
    if (speakers or min_speakers > 1 or max_speakers < 20) and not diarize:
        raise typer.BadParameter("a number of speakers needs --diarize", param_hint="--speakers")
    from ..tasks.transcribe import TranscribeTask
    from ..timeline.segments import SubtitleLayout

    if output is None:
        file, format = _single_file(inputs, job)
    task = TranscribeTask.create(
        speech.model,
        engine=speech.engine,
        options=speech.make_options(word_timestamps=word_timestamps or highlight_words, batch_size=batch_size),
        vad=speech.detector,
        diarize=diarize,
        speakers=speakers,
        min_speakers=min_speakers,
        max_speakers=max_speakers,
    )
    asked = max_line_width or max_line_count or highlight_words
    lines = SubtitleLayout(max_line_width, max_line_count, highlight_words) if asked else None
    if output is not None:
        run_job(task, inputs, output, job, done="transcribed", row="segment", lines=lines)
        return
    with as_usage(), show_transcribe_progress(job.show) as on_progress:
        found = task.run_one(file, on_progress)
    _write_result(found, format, lines, as_json=job.as_json)


def _single_file(inputs: list[str] | None, job: JobOptions) -> tuple[str, Format]:
    """The one file and the one format that can go to stdout."""
    from ..timeline.subtitles import FORMATS

    if not inputs:
        raise typer.BadParameter("expected a file", param_hint="FILES")
    formats = job.chosen_formats if job.formats else ("txt",)
    if len(inputs) > 1 or len(formats) > 1 or Path(inputs[0]).is_dir():
        raise typer.BadParameter("more than one file to write: give -o DIR", param_hint="--output")
    for name in FORMATS:
        if name == formats[0]:
            return inputs[0], name
    raise typer.BadParameter(f"expected one of {', '.join(FORMATS)}, got {formats[0]!r}", param_hint="--format")


def _write_result(found: Transcript, format: Format, lines: SubtitleLayout | None, *, as_json: bool) -> None:
    from ..timeline.segments import to_row
    from ..timeline.subtitles import ANY, write_segments

    if as_json:
        print_json(asdict(found) | {"segments": [to_row(segment) for segment in found.segments]})
    else:
        source = found.source if format == "json" else Path(found.source).stem
        typer.echo(write_segments(found.segments, format, lines=lines or ANY, source=source), nl=False)
    told = "nobody speaks" if not found.segments else f"{len(found.segments)} segments"
    language = f" in {found.language}" if found.language else ""
    typer.echo(f"{escape_text(found.source)}: {told}{language}, {format_duration(found.duration)} heard", err=True)
