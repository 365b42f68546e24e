"""Features → soft tokens of a language model: six kinds of adapter, and text with media in it. Needs torch."""

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
