"""Turn features into soft tokens of a language model: six kinds of adapter, and the splicing of tokens into text.

Needs torch.
"""

from __future__ import annotations

from typing import Any

from .base import Adapter, SoftTokens, token_rms
from .files import (
    FACTS,
    KINDS,
    WEIGHTS,
    adapter_kind,
    as_files,
    check_adapter_settings,
    load_adapter,
    make_adapter,
    save_adapter,
)
from .splice import MARKERS, Splicer, generate

__all__ = [
    "FACTS",
    "KINDS",
    "MARKERS",
    "WEIGHTS",
    "Adapter",
    "SoftTokens",
    "Splicer",
    "adapter_kind",
    "as_files",
    "check_adapter_settings",
    "generate",
    "load_adapter",
    "make_adapter",
    "save_adapter",
    "token_rms",
]

_RENAMED = {
    "check": "check_adapter_settings",
    "kind_of": "adapter_kind",
    "load": "load_adapter",
    "make": "make_adapter",
    "save": "save_adapter",
}
"""Names of older releases."""


def __getattr__(name: str) -> Any:
    """Return what a name of an older release stands for, with a warning."""
    from ..support.deprecated import get_renamed

    return get_renamed(__name__, name, _RENAMED)
