"""Turn clips of media, and texts, into features and vectors.

`load_encoder("conse")` gives an encoder, `list_models()` says which there are.
"""

from __future__ import annotations

from typing import Any

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

_RENAMED = {
    "families": "list_families",
    "hub_names": "list_hub_models",
    "load": "load_encoder",
    "names": "list_models",
    "register": "register_encoder",
    "spec": "model_spec",
}
"""Names of older releases."""


def __getattr__(name: str) -> Any:
    """Return what a name of an older release stands for, with a warning."""
    from ..support.deprecated import get_renamed

    return get_renamed(__name__, name, _RENAMED)
