"""Arrays → frames → vectors. `load("conse")` gives an encoder, `names()` says which there are."""

from ._registry import load, names, register, spec

__all__ = ["load", "names", "register", "spec"]
