"""Arrays → frames → vectors. `load("conse")` gives an encoder, `names()` says which there are."""

from .registry import (
    check_precision,
    is_hub_spec,
    list_families,
    list_hub_models,
    list_models,
    load_encoder,
    model_spec,
    register_encoder,
    update_spec,
)

__all__ = [
    "check_precision",
    "is_hub_spec",
    "list_families",
    "list_hub_models",
    "list_models",
    "load_encoder",
    "model_spec",
    "register_encoder",
    "update_spec",
]
