"""Turn clips of media, and texts, into features and vectors.

`load_encoder("conse")` gives an encoder, `list_models()` says which there are.
"""

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
