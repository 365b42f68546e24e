"""Arrays → frames → vectors. `load("conse")` gives an encoder, `names()` says which there are."""

from ._registry import current_spec, families, hub_names, judge, load, names, of_checkpoint, register, spec

__all__ = ["current_spec", "families", "hub_names", "judge", "load", "names", "of_checkpoint", "register", "spec"]
