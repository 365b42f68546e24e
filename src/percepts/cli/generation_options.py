"""Define the options of every command that generates text about images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..vlm.generation import GenerationOptions


@dataclass(frozen=True, slots=True)
class GenerationFlags:
    """Options of text generation, in the order of `--help`; a parameter of this type gives them to a command."""

    num_beams: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Beams in the search. [default: the model's]")
    ] = None
    length_penalty: Annotated[
        float | None, typer.Option(metavar="X", help="With beams: above 0 favours long texts, below 0 short ones.")
    ] = None
    repetition_penalty: Annotated[
        float | None, typer.Option(metavar="X", help="Above 1 makes repetition less likely, 1 changes nothing.")
    ] = None
    no_repeat_ngram_size: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Length in tokens from which a phrase may not repeat; 0 allows any."),
    ] = None

    def build(self, max_new_tokens: int) -> GenerationOptions:
        """Return the options; `max_new_tokens` is the command's own, since its default differs."""
        # Imported only now, because `percepts --help` imports this module.
        from ..vlm.generation import GenerationOptions

        # The fields have the names of the options, so a new one is added in both.
        return GenerationOptions(max_new_tokens, **asdict(self))
