"""Define the options of commands that decode media."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Literal, get_type_hints

import typer

Fps = Annotated[float, typer.Option(min=0.001, metavar="N", help="Frames to read per second of video.")]
Hop = Annotated[
    float | None,
    typer.Option(
        min=0.001, metavar="SECONDS", help="Seconds from one window to the next. [default: the window's length]"
    ),
]
Tail = Annotated[Literal["pad", "keep", "drop"], typer.Option(help="Last, partial window: pad, keep or drop it.")]
Exact = Annotated[bool, typer.Option("--exact", help="Decode large JPEGs at full size, which is slower.")]
Precision = Annotated[
    Literal["float32", "int8", "int8-unchecked", "bfloat16"],
    typer.Option(help="Precision of Hugging Face models. int8 (on CPU) is used if it passes an accuracy check."),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(
        "--max-seconds",
        min=0.001,
        metavar="N",
        help="Longest duration of a file, in seconds. [default: 48 hours, less for a small file]",
    ),
]


def with_max_seconds(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option `--max-seconds` to a command; the limit holds while the command runs."""
    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)

    @wraps(command)
    def run_command(max_seconds: float | None = None, **given: object) -> None:
        from ..media import limit_seconds

        with limit_seconds(max_seconds):
            command(**given)

    # Annotations that are text are resolved here, where the names of the command's module are known.
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints.get(name, parameter.annotation))
        if isinstance(parameter.annotation, str)
        else parameter
        for name, parameter in signature.parameters.items()
    ]
    # Last, so that --help lists the command's own options first.
    option = inspect.Parameter("max_seconds", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=MaxSeconds)
    run_command.__signature__ = signature.replace(parameters=[*own, option])  # type: ignore[attr-defined]
    return run_command
