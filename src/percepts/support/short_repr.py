"""Print data classes in one line: arrays by dtype and shape, long values by their size, defaults not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

import numpy as np

MAX_ITEMS = 4
"""Longer tuples, lists and mappings are shown by their length."""
MAX_CHARACTERS = 80
"""Longer texts are shown by their beginning."""


class ShortRepr:
    """A data class whose `repr` fits on one line: `Record(source='a.jpg', start=0.0, …, vector=float32[384])`.

    Fields that have their default value are left out.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        shown = ((field, getattr(self, field.name)) for field in fields(self) if field.repr)  # type: ignore[arg-type]
        pairs = [f"{field.name}={shorten(value)}" for field, value in shown if not _is_default(field, value)]
        return f"{type(self).__name__}({', '.join(pairs)})"


def shorten(value: Any) -> str:
    """Return the text that stands for a value in a `repr`.

    >>> shorten(np.zeros((2, 3), np.float32)), shorten(list(range(9)))
    ('float32[2, 3]', 'list[9]')
    """
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        return repr(f"{value[: MAX_CHARACTERS - 1]}…")
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{type(value).__name__}[{len(value)}]"
    if isinstance(value, tuple | list | Mapping) and (len(value) > MAX_ITEMS or _is_nested(value)):
        return f"{type(value).__name__}[{len(value)}]"
    return repr(value)


def _is_nested(value: tuple[Any, ...] | list[Any] | Mapping[Any, Any]) -> bool:
    # An array or a data class inside would print all of its numbers, or a second line's worth of fields.
    items = value.values() if isinstance(value, Mapping) else value
    return any(isinstance(item, np.ndarray) or is_dataclass(item) for item in items)


def _is_default(field: Field[Any], value: Any) -> bool:
    if field.default_factory is not MISSING:
        return bool(value == field.default_factory())
    # Arrays are compared by identity: == gives an array.
    return value is field.default or (not isinstance(value, np.ndarray) and bool(value == field.default))
