"""Define the options of commands that transcribe speech."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .errors import usage_errors

MAX_SPEAKERS = 20

if TYPE_CHECKING:
    from ..speech.options import TranscribeOptions
    from ..tasks.diarizer import Vad

AudioInputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILES",
        help="Audio and video files, folders of them, URLs of a --host. Optional with --retry-failed.",
    ),
]
Detector = Annotated[Literal["silero", "energy"], typer.Option(help="Speech detector; energy needs no weights.")]


@dataclass(frozen=True, slots=True)
class SpeakerOptions:
    """How many people speak; `with_job_options` adds these options to a command with a parameter of this type."""

    # No default number: it is found by clustering.
    speakers: Annotated[int | None, typer.Option(min=1, metavar="N", help="Number of speakers, if known.")] = None
    min_speakers: Annotated[int, typer.Option(min=1, metavar="N", help="Lowest number of speakers.")] = 1
    max_speakers: Annotated[int, typer.Option(min=1, metavar="N", help="Highest number of speakers.")] = MAX_SPEAKERS

    @property
    def is_given(self) -> bool:
        """Whether any of the options differs from its default."""
        return self.speakers is not None or self.min_speakers > 1 or self.max_speakers < MAX_SPEAKERS

    def __post_init__(self) -> None:
        """Refuse a range that holds no number."""
        # Typer checks each option by itself, not two together.
        if self.min_speakers > self.max_speakers:
            raise typer.BadParameter(
                f"at least {self.min_speakers} speakers and at most {self.max_speakers} cannot both hold",
                param_hint="--min-speakers",
            )


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """The options in the order of `--help`; `with_job_options` adds them to a command with a parameter of this type."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="PATH_OR_ID",
            help="Folder or Hugging Face id of a Whisper model, or of wav2vec 2.0, HuBERT or WavLM with a CTC head; "
            "sphinx is pocketsphinx: small, inaccurate, nothing to download. [default: sphinx, if installed]",
        ),
    ] = None
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="transformers|ctranslate2|ctc|sphinx", help="Library that runs the model. [default: by its files]"
        ),
    ] = None
    language: Annotated[
        str | None, typer.Option(metavar="CODE", help="Language spoken, such as en. [default: detected by the model]")
    ] = None
    task: Annotated[
        Literal["transcribe", "translate"], typer.Option(help="translate writes English whatever is spoken.")
    ] = "transcribe"
    beam_size: Annotated[int, typer.Option(min=1, metavar="N", help="Beams in the search; 1 decodes greedily.")] = 5
    temperature: Annotated[
        str | None,
        typer.Option(
            metavar="T,…",
            help="Temperatures to try in turn while the text repeats itself or is improbable. [default: 0,0.2,…,1]",
        ),
    ] = None
    initial_prompt: Annotated[
        str, typer.Option(metavar="TEXT", help="Text that sets names, spelling and style of the transcript.")
    ] = ""
    hotwords: Annotated[str, typer.Option(metavar="TEXT", help="Words to expect in every window.")] = ""
    condition: Annotated[
        bool,
        typer.Option(
            "--condition-on-previous-text/--no-condition-on-previous-text",
            help="Give each window the text of the windows before it.",
        ),
    ] = True
    vad: Detector = "silero"
    no_vad: Annotated[bool, typer.Option("--no-vad", help="Transcribe silence too, without a speech detector.")] = False

    @property
    def detector(self) -> Vad | None:
        """The speech detector; None decodes everything."""
        return None if self.no_vad else self.vad

    def make_options(self, *, word_timestamps: bool = False, batch_size: int = 1) -> TranscribeOptions:
        """Return the options as the models take them; a value that no model takes is an error of usage."""
        from ..speech.options import TEMPERATURES, TranscribeOptions

        with usage_errors():
            return TranscribeOptions(
                task=self.task,
                language=self.language,
                beam=self.beam_size,
                # One option with commas: as a list in Typer it would have to be repeated.
                temperatures=_parse_numbers(self.temperature) if self.temperature else TEMPERATURES,
                initial_prompt=self.initial_prompt,
                hotwords=self.hotwords,
                condition_on_previous_text=self.condition,
                word_timestamps=word_timestamps,
                batch_size=batch_size,
            )


def _parse_numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, text.split(",")))
    except ValueError as error:
        raise ValueError(f"expected temperatures separated by commas, got {text!r}") from error
