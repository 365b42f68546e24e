"""Arrays → frames → vectors. `load("conse")` gives an encoder, `names()` says which there are."""

from ._registry import families, hub_names, judge, load, names, of_checkpoint, register, spec

__all__ = ["families", "hub_names", "judge", "load", "names", "of_checkpoint", "register", "spec"]
