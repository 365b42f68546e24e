"""Keep old names working until they are removed, with a warning that says what to use instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

REMOVED_IN = "0.3.0"
"""Release that removes the old names."""

P = ParamSpec("P")
R = TypeVar("R")
Class = TypeVar("Class", bound=type)


def describe_renamed(old: str, new: str) -> str:
    """Return the sentence that says which name to use instead.

    >>> describe_renamed("load", "load_encoder")
    'load is deprecated and will be removed in percepts 0.3.0: use load_encoder'
    """
    return f"{old} is deprecated and will be removed in percepts {REMOVED_IN}: use {new}"


def warn_renamed(old: str, new: str, *, stacklevel: int = 3) -> None:
    """Emit a DeprecationWarning, by default at the caller of the function that calls this one."""
    warnings.warn(describe_renamed(old, new), DeprecationWarning, stacklevel=stacklevel)


def get_renamed(module: str, name: str, renamed: Mapping[str, str]) -> Any:
    """Return what a module's old name stands for; called by the `__getattr__` of that module.

    `renamed` maps old names to new ones in the same module. AttributeError for a name that was never there.
    """
    if name not in renamed:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    # 4: warn_renamed, this function, the module's __getattr__, and the line to change
    warn_renamed(f"{module}.{name}", f"{module}.{renamed[name]}", stacklevel=4)
    return getattr(import_module(module), renamed[name])


@dataclass(frozen=True, slots=True)
class OldArgument:
    """A keyword argument that has a new name, and perhaps a new meaning.

    new      its name today
    convert  old value → new value
    example  what to write instead; "": the new name
    """

    new: str
    convert: Callable[[Any], Any] = lambda value: value
    example: str = ""


def accept_old_arguments(**old: OldArgument) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take keyword arguments by their old names, with a warning.

    TypeError where a call gives an old name and the new one.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            if old.keys() & kwargs.keys():  # kept out of the way of calls that use the names of today
                kwargs.update(_rename_arguments(_plain_name(function), kwargs, old))
            return function(*args, **kwargs)

        return wrapper

    return decorate


def accept_old_fields(**old: OldArgument) -> Callable[[Class], Class]:
    """Let a data class be made with the old names of its fields, with a warning."""

    def decorate(kind: Class) -> Class:
        initialise = accept_old_arguments(**old)(kind.__init__)  # type: ignore[misc]
        kind.__init__ = initialise  # type: ignore[misc]
        return kind

    return decorate


class OldAttribute:
    """A read-only attribute that has a new name: `matched = OldAttribute("matches")` in the body of a class."""

    def __init__(self, new: str) -> None:
        self._new = new

    def __set_name__(self, owner: type, name: str) -> None:
        self._old = f"{owner.__name__}.{name}"

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Return the value of the attribute of today."""
        if instance is None:  # asked of the class, as by help()
            return self
        warn_renamed(self._old, f".{self._new}")
        return getattr(instance, self._new)


def _plain_name(function: Callable[..., Any]) -> str:
    return function.__qualname__.removesuffix(".__init__")


def _rename_arguments(function: str, given: dict[str, Any], old: Mapping[str, OldArgument]) -> dict[str, Any]:
    renamed = {}
    for name in [name for name in given if name in old]:
        argument = old[name]
        if argument.new in given:
            raise TypeError(f"{function}() got {argument.new} and {name}, its old name: give {argument.new} alone")
        # 4: this function, the wrapper, and the call that is to be changed
        warn_renamed(f"{function}({name}=)", argument.example or f"{argument.new}=", stacklevel=4)
        renamed[argument.new] = argument.convert(given.pop(name))
    return renamed
