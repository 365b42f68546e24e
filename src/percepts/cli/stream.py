"""Define `percepts stream` and `percepts replay`, which transcribe audio while it is spoken."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .errors import usage_errors
from .job_options import INTERRUPTED, with_job_options
from .output import escape_text
from .speech_options import SpeechOptions

if TYPE_CHECKING:
    from ..speech.streaming.events import Event
    from ..speech.streaming.online import StreamingConfig
    from ..types import Clip

Chunk = Annotated[
    float, typer.Option("--min-chunk-size", min=0.05, metavar="SECONDS", help="New audio to wait for before each pass.")
]
By = Annotated[
    Literal["segment", "sentence"],
    typer.Option(
        "--buffer-trimming", help="Where audio is dropped once its words are committed: after segments or sentences."
    ),
]
Passes = Annotated[
    # One pass has nothing to agree with.
    int, typer.Option(min=2, metavar="N", help="Passes that must agree on a word before it is committed.")
]


@with_job_options
def stream(
    *,
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-|microphone", help="Audio or video file; - reads WAV or raw samples from a pipe."
        ),
    ],
    speech: SpeechOptions,
    chunk: Chunk = 1.0,
    by: By = "segment",
    passes: Passes = 2,
    rate: Annotated[
        int, typer.Option(min=100, metavar="HZ", help="Sample rate of raw samples (16-bit little-endian, one channel).")
    ] = 16_000,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Microphone to use; `python -m sounddevice` lists them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines on a terminal, as anywhere else.")] = False,
) -> None:
    """Transcribe live audio; words once printed never change.

    On a terminal, words that may still change follow in grey. Ctrl-C ends the stream; words already printed stay.

    percepts stream talk.flac

    ffmpeg -i URL -f wav - | percepts stream - --model openai/whisper-base

    percepts stream microphone
    """
    from ..jobs.workers.signals import stop_on_signals
    from ..tasks.stream import stream as task

    live = source in ("-", "microphone")
    # Codes that redraw a line are of no use in a file or a pipe.
    show = _print_event if as_json or not sys.stdout.isatty() else _LiveScreen().show
    with usage_errors(), stop_on_signals() as stop:
        events = task(
            _open_live(source, rate, device) if live else source,
            speech.model,
            engine=speech.engine,
            options=speech.make_options(),
            config=_streaming_config(chunk, passes, by),
            vad=speech.detector,
            live=live,
            stop=stop,
        )
        for event in events:
            show(event)
        if show is not _print_event:  # the row of the screen has no end of line yet
            typer.echo()
    if stop.is_set() and not live:  # Ctrl-C is the usual end of a live stream, and no interruption
        raise typer.Exit(INTERRUPTED)


@with_job_options
def replay(
    *,
    source: Annotated[str, typer.Argument(metavar="FILE", help="Audio or video file.")],
    speech: SpeechOptions,
    chunk: Chunk = 1.0,
    by: By = "segment",
    passes: Passes = 2,
    clock: Annotated[
        Literal["real", "still"],
        typer.Option(help="still leaves out the time of computing, for the same result on every machine."),
    ] = "real",
) -> None:
    """Measure how late a live transcription prints its words.

    The file is streamed as if it were spoken now, without waiting: the times at which words would appear are computed.
    Events are printed as JSON lines, the figures on stderr. `percepts eval latency` compares the lines with a
    transcript that has times.

    percepts replay talk.flac > events.jsonl
    """
    from ..tasks.stream import replay as task

    with usage_errors():
        result = task(
            source,
            speech.model,
            engine=speech.engine,
            options=speech.make_options(),
            config=_streaming_config(chunk, passes, by),
            vad=speech.detector,
            clock=clock,
        )
    for event in result.events:
        _print_event(event)
    figures = asdict(result.latency)
    # The two kinds of latency in the literature: with the time of computing, and without it.
    for name in ("aware", "unaware"):
        late = ", ".join(f"{point} {seconds:.2f} s" for point, seconds in figures[name].items())
        typer.echo(f"latency, computation {name}: {late}", err=True)
    words = f"{figures['words']} words, {figures['revision']:.1%} of partial words revised"
    typer.echo(f"{words}, longest stall {figures['stall']:.2f} s, real-time factor {figures['rtf']:.3f}", err=True)


def _streaming_config(chunk: float, passes: int, by: Literal["segment", "sentence"]) -> StreamingConfig:
    from ..speech.streaming.online import StreamingConfig

    return StreamingConfig(chunk_s=chunk, passes=passes, trim_on=by)


def _open_live(source: str, rate: int, device: str | None) -> Iterator[Clip]:
    from ..media.capture import stream_microphone, stream_pipe

    if source == "-":
        # Unbuffered: a thread that waits in a buffer holds its lock, and the program could not end.
        return stream_pipe(open(sys.stdin.fileno(), "rb", buffering=0, closefd=False), rate=rate)
    # sounddevice takes a number, or a part of the name.
    return stream_microphone(int(device) if device and device.isdigit() else device)


def _print_event(event: Event) -> None:
    print(json.dumps(event.row()), flush=True)  # a pipe is buffered, and a live event is of use only now


class _LiveScreen:
    """A terminal with rows of committed words, and after them, in grey and redrawn, words that may change."""

    def __init__(self, columns: int | None = None) -> None:
        # One less: a terminal wraps when its last column is written, and \r would go back too little.
        self._width = (columns or shutil.get_terminal_size().columns) - 1
        self._row = ""

    def show(self, event: Event) -> None:
        """Show an event on the screen."""
        words = [escape_text(word.text.strip()) for word in event.words]
        grey = ""
        if event.type == "committed":
            for word in words:
                self._add(word)
        else:
            # The end of it, where the newest words are; one row, since only one can be redrawn.
            grey = " ".join(words)[-max(0, self._width - len(self._row) - 1) :]
        space = " " if self._row and grey else ""
        # \x1b[K clears the row, \x1b[2m is faint, \x1b[0m plain again.
        sys.stdout.write(f"\r\x1b[K{self._row}{space}\x1b[2m{grey}\x1b[0m")
        sys.stdout.flush()

    def _add(self, word: str) -> None:
        if self._row and len(self._row) + 1 + len(word) > self._width:
            sys.stdout.write(f"\r\x1b[K{self._row}\n")
            self._row = ""
        self._row = f"{self._row} {word}".strip()
