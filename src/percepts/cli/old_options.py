"""Take options by the names of older releases, and say on stderr what to write today."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from ..support.deprecated import describe_renamed


@dataclass(frozen=True, slots=True)
class OldOption:
    """An option that has a new name, and perhaps a new meaning.

    flag     its old name, with the dashes
    kind     type of its value
    new      the parameter of the command that takes the value today
    today    what to write instead
    convert  old value → new value
    """

    flag: str
    kind: Any
    new: str
    today: str
    convert: Callable[[Any], Any] = lambda value: value

    @property
    def parameter(self) -> str:
        """The name under which Typer passes its value."""
        return f"old_{self.flag.strip('-').replace('-', '_')}"


def with_old_options(*old: OldOption) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command its old options, hidden from `--help`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)

        @wraps(command)
        def called(**given: Any) -> None:
            for option in old:
                value = given.pop(option.parameter)
                # What Typer passes for an option that was not given: one value, a list, a flag.
                if value not in (None, [], False):
                    _use(option, value, given, signature.parameters[option.new].default)
            command(**given)

        hints = get_type_hints(command, include_extras=True)
        own = [
            parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints.get(name, parameter.annotation))
            for name, parameter in signature.parameters.items()
        ]
        # Typer reads the options from the signature; the old ones come last, where no help shows them.
        called.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*own, *map(_hidden_parameter, old)]
        )
        return called

    return decorate


def _use(option: OldOption, value: Any, given: dict[str, Any], default: Any) -> None:
    # Typer does not say whether an option was given, so a new one with its default value passes.
    if given[option.new] != default:
        raise typer.BadParameter(f"this is the old name of {option.today}; give one of the two", param_hint=option.flag)
    typer.secho(f"percepts: {describe_renamed(option.flag, option.today)}", err=True, fg=typer.colors.YELLOW)
    given[option.new] = option.convert(value)


def _hidden_parameter(option: OldOption) -> inspect.Parameter:
    return inspect.Parameter(
        option.parameter,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,  # never an old value: it would look as if it were given
        annotation=Annotated[option.kind | None, typer.Option(option.flag, hidden=True)],
    )
