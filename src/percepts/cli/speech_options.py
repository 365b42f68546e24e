"""The options of every command that writes down speech, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import PerceptsError

if TYPE_CHECKING:
    from ..speech.options import TranscribeOptions
    from ..tasks.diarizer import Vad


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """In the order of `--help`; a parameter of this type gives them to a command."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="PATH_OR_ID",
            help="A folder or a hub id of Whisper, or of wav2vec 2.0, HuBERT or WavLM with a CTC head; sphinx: "
            "pocketsphinx, small and poor, with nothing to download. [default: sphinx, if installed]",
        ),
    ] = None
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="transformers|ctranslate2|ctc|sphinx", help="What runs the model. [default: as it takes it]"
        ),
    ] = None
    language: Annotated[
        str | None, typer.Option(metavar="CODE", help="What is spoken, such as en. [default: the model tells]")
    ] = None
    task: Annotated[Literal["transcribe", "translate"], typer.Option(help="translate: into English.")] = "transcribe"
    beam_size: Annotated[int, typer.Option(min=1, metavar="N", help="Hypotheses of a beam search; 1 is greedy.")] = 5
    temperature: Annotated[
        str | None,
        typer.Option(
            metavar="T,…",
            help="Tried one after the other where a result repeats itself or is unlikely. [default: 0,0.2,…,1]",
        ),
    ] = None
    initial_prompt: Annotated[
        str, typer.Option(metavar="TEXT", help="What might stand before the first word: names, spelling, style.")
    ] = ""
    hotwords: Annotated[str, typer.Option(metavar="TEXT", help="Words to expect, before every window.")] = ""
    condition: Annotated[
        bool,
        typer.Option(
            "--condition-on-previous-text/--no-condition-on-previous-text",
            help="Each window is given the text of those before it.",
        ),
    ] = True
    vad: Annotated[
        Literal["silero", "energy"], typer.Option(help="What finds speech first; energy needs no weights.")
    ] = "silero"
    no_vad: Annotated[bool, typer.Option("--no-vad", help="Decode everything, silence too.")] = False

    @property
    def detector(self) -> Vad | None:
        """What finds speech, None for nothing."""
        return None if self.no_vad else self.vad

    def make_options(self, *, word_timestamps: bool = False, batch_size: int = 1) -> TranscribeOptions:
        """What is asked of the model; a usage error for what cannot be."""
        from ..speech.options import TEMPERATURES, TranscribeOptions

        try:
            return TranscribeOptions(
                task=self.task,
                language=self.language,
                beam=self.beam_size,
                temperatures=_parse_numbers(self.temperature) if self.temperature else TEMPERATURES,
                initial_prompt=self.initial_prompt,
                hotwords=self.hotwords,
                condition_on_previous_text=self.condition,
                word_timestamps=word_timestamps,
                batch_size=batch_size,
            )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error


@contextmanager
def as_usage() -> Iterator[None]:
    """What a model says of options that it cannot honour, as an error of usage."""
    try:
        yield
    except PerceptsError:  # some of which are a ValueError too
        raise
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _parse_numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, text.split(",")))
    except ValueError as error:
        raise ValueError(f"expected temperatures between commas, got {text!r}") from error
