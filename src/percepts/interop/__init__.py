"""Offer the encoders under the interfaces of other libraries: `from percepts.interop import openl3`."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

_MODULES = ("datasets", "hear", "mteb", "openl3")


def __getattr__(name: str) -> ModuleType:
    """Import a module at its first use, since each needs other packages."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; there are: {', '.join(_MODULES)}")
    return import_module(f"{__name__}.{name}")
