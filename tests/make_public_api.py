"""Write tests/public_api.txt: every public name with its signature. Run it after a change that is meant.

python tests/make_public_api.py
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import percepts

SNAPSHOT = Path(__file__).with_name("public_api.txt")


def describe_api() -> str:
    """Return a line for each public name, and one for each public member of a class."""
    return "\n".join(line for name in percepts.__all__ for line in describe(name, getattr(percepts, name))) + "\n"


def describe(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, ModuleType):
        yield f"module {name}"
    elif isinstance(value, type):
        yield from describe_class(name, value)
    elif callable(value):
        yield f"def {name}{signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def describe_class(name: str, kind: type) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in kind.__bases__ if base not in (object, Enum))
    built = "" if getattr(kind, "_is_protocol", False) or issubclass(kind, Exception) else signature(kind)
    yield f"class {name}{built}{f': {bases}' if bases else ''}"
    for member in sorted(set(dir(kind)) - set(dir(Exception)) - set(dir(list))):
        found = inspect.getattr_static(kind, member)
        if member.startswith("_") or inspect.ismemberdescriptor(found) or type(found).__name__ == "OldAttribute":
            continue
        if isinstance(found, property):
            yield f"    {name}.{member} -> {annotation(found.fget.__annotations__.get('return', '?'))}"
        elif callable(getattr(kind, member)):
            yield f"    {name}.{member}{signature(getattr(kind, member))}"


def signature(function: Any) -> str:
    """Return the signature as this file would print it on every version of Python."""
    found = inspect.signature(function)
    parts, named = [], False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not named:
            parts.append("*")
        named = named or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        hint = "" if parameter.annotation is parameter.empty else f": {annotation(parameter.annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {value_text(parameter.default)}"
        parts.append(f"{star}{parameter.name}{hint}{default}")
    back = "" if found.return_annotation is found.empty else f" -> {annotation(found.return_annotation)}"
    return f"({', '.join(parts)}){back}"


def annotation(hint: Any) -> str:
    return hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))


def value_text(value: Any) -> str:
    # an address would change with every run, and a factory's default has no text that says anything
    if callable(value) or type(value).__repr__ is object.__repr__:
        return getattr(value, "__name__", f"<{type(value).__name__}>")
    return "<factory>" if "factory" in repr(value) else repr(value)


if __name__ == "__main__":
    SNAPSHOT.write_text(describe_api(), "utf-8")
    print(SNAPSHOT)
