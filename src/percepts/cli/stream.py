"""`percepts stream` and `percepts replay`: sound as it comes in, words out as they are said."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .job_options import INTERRUPTED, with_job_options
from .output import escape_text
from .speech_options import SpeechOptions, as_usage

if TYPE_CHECKING:
    from ..speech.streaming.events import Event
    from ..speech.streaming.online import StreamingConfig
    from ..types import Clip

Chunk = Annotated[
    float, typer.Option("--min-chunk-size", min=0.05, metavar="SECONDS", help="New sound before it is heard again.")
]
By = Annotated[
    Literal["segment", "sentence"],
    typer.Option("--buffer-trimming", help="What the sound is cut after, once its words are committed."),
]
Passes = Annotated[int, typer.Option(min=2, metavar="N", help="Passes that must agree on a word before it stays.")]


@with_job_options
def stream(
    *,
    source: Annotated[
        str,
        typer.Argument(metavar="FILE|-|microphone", help="A recording or film; - for a pipe of WAV or raw samples."),
    ],
    speech: SpeechOptions,
    chunk: Chunk = 1.0,
    by: By = "segment",
    passes: Passes = 2,
    rate: Annotated[
        int, typer.Option(min=100, metavar="HZ", help="Of raw samples, 16-bit little-endian, one channel.")
    ] = 16_000,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which microphone; `python -m sounddevice` lists them.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines on a terminal too; elsewhere they are printed anyway.")
    ] = False,
) -> None:
    """Print words as they are said, never to be taken back.

    On a terminal words that may still change follow in grey. Ctrl-C ends the stream and keeps what was said.

    percepts stream talk.flac

    ffmpeg -i URL -f wav - | percepts stream - --model openai/whisper-base

    percepts stream microphone
    """
    from ..jobs.workers.signals import stop_on_signals
    from ..tasks.stream import stream as task

    live = source in ("-", "microphone")
    show = _event_lines if as_json or not sys.stdout.isatty() else _LiveScreen().show
    with as_usage(), stop_on_signals() as stop:
        events = task(
            _open_live(source, rate, device) if live else source,
            speech.model,
            engine=speech.engine,
            options=speech.make_options(),
            patience=_streaming_config(chunk, passes, by),
            vad=speech.detector,
            live=live,
            stop=stop,
        )
        for event in events:
            show(event)
        if show is not _event_lines:
            typer.echo()
    if stop.is_set() and not live:  # of what is live, this is the usual end
        raise typer.Exit(INTERRUPTED)


@with_job_options
def replay(
    *,
    source: Annotated[str, typer.Argument(metavar="FILE", help="A recording or film.")],
    speech: SpeechOptions,
    chunk: Chunk = 1.0,
    by: By = "segment",
    passes: Passes = 2,
    clock: Annotated[
        Literal["real", "still"],
        typer.Option(help="still: computing takes no time, so that the result is the same on every machine."),
    ] = "real",
) -> None:
    """Measure how late the words of a stream would come.

    A recording is streamed as if it were said now. The events are printed as JSON lines, the figures on stderr. Nothing
    is waited for: the time that words would come at is computed. `percepts eval latency` judges the lines against a
    transcript with times.

    percepts replay talk.flac > events.jsonl
    """
    from ..tasks.stream import replay as task

    with as_usage():
        found = task(
            source,
            speech.model,
            engine=speech.engine,
            options=speech.make_options(),
            patience=_streaming_config(chunk, passes, by),
            vad=speech.detector,
            clock=clock,
        )
    for event in found.events:
        _event_lines(event)
    figures = asdict(found.latency)
    for name in ("aware", "unaware"):
        late = ", ".join(f"{point} {seconds:.2f} s" for point, seconds in figures[name].items())
        typer.echo(f"latency, computation {name}: {late}", err=True)
    told = f"{figures['words']} words, {figures['revision']:.1%} of partial words revised"
    typer.echo(f"{told}, longest stall {figures['stall']:.2f} s, RTF {figures['rtf']:.3f}", err=True)


def _streaming_config(chunk: float, passes: int, by: Literal["segment", "sentence"]) -> StreamingConfig:
    from ..speech.streaming.online import StreamingConfig

    return StreamingConfig(chunk_s=chunk, passes=passes, trim_on=by)


def _open_live(source: str, rate: int, device: str | None) -> Iterator[Clip]:
    from ..media.capture import stream_microphone, stream_pipe

    if source == "-":
        # Without a buffer: a thread that waits in one would hold its lock when the program wants to end.
        return stream_pipe(open(sys.stdin.fileno(), "rb", buffering=0, closefd=False), rate=rate)
    return stream_microphone(int(device) if device and device.isdigit() else device)


def _event_lines(event: Event) -> None:
    print(json.dumps(event.row()), flush=True)


class _LiveScreen:
    """A terminal: rows of committed words, and after them, in grey and redrawn, those that may change."""

    def __init__(self, columns: int | None = None) -> None:
        self._width = (columns or shutil.get_terminal_size().columns) - 1
        self._row = ""

    def show(self, event: Event) -> None:
        """Put an event on the screen."""
        words = [escape_text(word.text.strip()) for word in event.words]
        grey = ""
        if event.type == "committed":
            for word in words:
                self._add(word)
        else:
            grey = " ".join(words)[-max(0, self._width - len(self._row) - 1) :]
        space = " " if self._row and grey else ""
        sys.stdout.write(f"\r\x1b[K{self._row}{space}\x1b[2m{grey}\x1b[0m")
        sys.stdout.flush()

    def _add(self, word: str) -> None:
        if self._row and len(self._row) + 1 + len(word) > self._width:
            sys.stdout.write(f"\r\x1b[K{self._row}\n")
            self._row = ""
        self._row = f"{self._row} {word}".strip()
