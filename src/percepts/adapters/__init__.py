"""Features → soft tokens of a language model: six kinds of adapter, and text with media in it. Needs torch."""

from ._base import Adapter, SoftTokens, token_rms
from ._files import FACTS, KINDS, WEIGHTS, as_files, check, kind_of, load, make, save
from .splice import MARKERS, Splicer, generate

__all__ = [
    "FACTS",
    "KINDS",
    "MARKERS",
    "WEIGHTS",
    "Adapter",
    "SoftTokens",
    "Splicer",
    "as_files",
    "check",
    "generate",
    "kind_of",
    "load",
    "make",
    "save",
    "token_rms",
]
