"""The option of every command that decodes media: how long a source may be."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, get_type_hints

import typer

MaxSeconds = Annotated[
    float | None,
    typer.Option(
        "--max-seconds",
        min=0.001,
        metavar="N",
        help="Seconds that a source may last. [default: 48 hours, and less for a small file]",
    ),
]


def with_max_seconds(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option `--max-seconds`, in force while it runs."""
    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)

    @wraps(command)
    def called(max_seconds: float | None = None, **given: object) -> None:
        from ..media import limit_seconds

        with limit_seconds(max_seconds):
            command(**given)

    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints.get(name, parameter.annotation))
        if isinstance(parameter.annotation, str)
        else parameter
        for name, parameter in signature.parameters.items()
    ]
    option = inspect.Parameter("max_seconds", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=MaxSeconds)
    called.__signature__ = signature.replace(parameters=[*own, option])  # type: ignore[attr-defined]
    return called
