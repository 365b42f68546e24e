"""Define `percepts transcribe`, which writes down what is said in audio and video."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..support.formats import FORMATS, Format
from .errors import usage_errors
from .job_options import JobOptions, Output, run_job, single_file, with_job_options
from .output import escape_text, format_count, format_duration, print_json
from .progress import show_transcribe_progress
from .speech_options import AudioInputs, SpeakerOptions, SpeechOptions

if TYPE_CHECKING:
    from ..speech.results import Transcript
    from ..timeline.segments import SubtitleLayout


@with_job_options
def transcribe(
    *,
    inputs: AudioInputs = None,
    output: Output = None,
    speech: SpeechOptions,
    word_timestamps: Annotated[
        bool, typer.Option("--word-timestamps", help="Find the start and stop of each word.")
    ] = False,
    batch_size: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Windows per model call. More than 1 is faster, and cuts in pauses."),
    ] = 1,
    diarize: Annotated[bool, typer.Option("--diarize", help="Name the speaker of each word.")] = False,
    speaker: SpeakerOptions,
    max_line_width: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Longest line of srt and vtt, in characters.")
    ] = None,
    max_line_count: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most lines per subtitle in srt and vtt.")
    ] = None,
    highlight_words: Annotated[
        bool, typer.Option("--highlight-words", help="Underline each word while it is spoken, in srt and vtt.")
    ] = False,
    job: JobOptions,
) -> None:
    """Transcribe the speech in audio and video.

    Files may be of any length. The transcript of one file is printed, as text or in the format of -f. With -o DIR any
    number of files and folders go to a directory: run it again to resume after an interruption or to add files.

    percepts transcribe talk.flac --model openai/whisper-base -f srt

    percepts transcribe talks/ -o transcripts/ -f srt,json
    """
    # Refused and not ignored: a user would wait for names of speakers.
    if speaker.is_given and not diarize:
        raise typer.BadParameter("a number of speakers needs --diarize", param_hint="--speakers")
    from ..tasks.transcribe import TranscribeTask
    from ..timeline.segments import SubtitleLayout

    if output is None:
        file, format = single_file(inputs, job, FORMATS)
    task = TranscribeTask.create(
        speech.model,
        engine=speech.engine,
        # A word can be underlined only if its times are known.
        options=speech.make_options(word_timestamps=word_timestamps or highlight_words, batch_size=batch_size),
        vad=speech.detector,
        diarize=diarize,
        speakers=speaker.speakers,
        min_speakers=speaker.min_speakers,
        max_speakers=speaker.max_speakers,
    )
    has_layout = max_line_width or max_line_count or highlight_words
    # None keeps the segments as they are, and lets a job keep its subtitles.
    lines = SubtitleLayout(max_line_width, max_line_count, highlight_words) if has_layout else None
    if output is not None:
        run_job(task, inputs, output, job, done="transcribed", row="segment", lines=lines)
        return
    with usage_errors(), show_transcribe_progress(job.show) as on_progress:
        result = task.run_one(file, on_progress)
    _write_result(result, format, lines, as_json=job.as_json)


def _write_result(result: Transcript, format: Format, lines: SubtitleLayout | None, *, as_json: bool) -> None:
    from ..timeline.segments import to_row
    from ..timeline.subtitles import ANY, write_segments

    if as_json:
        print_json(asdict(result) | {"segments": [to_row(segment) for segment in result.segments]})
    else:
        # RTTM names a recording without its folder and its ending.
        source = result.source if format == "json" else Path(result.source).stem
        typer.echo(write_segments(result.segments, format, lines=lines or ANY, source=source), nl=False)
    # Silence is a result, but a user should see why the output is empty.
    count = format_count(len(result.segments), "segment") if result.segments else "no speech found"
    language = f" in {result.language}" if result.language else ""
    length = format_duration(result.duration)
    # To stderr, so that the transcript can be piped.
    typer.echo(f"{escape_text(result.source)}: {count}{language}, {length} of audio", err=True)
