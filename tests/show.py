"""Show a data class as text with all that it holds, arrays by their shape, where `==` is not defined."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np


def show(value: Any) -> str:
    """Return a text that is equal for two records exactly when all of their fields are; of arrays, dtype and shape."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(show, value))}]"
    if hasattr(type(value), "__dataclass_fields__"):
        return f"{type(value).__name__}({', '.join(f'{f.name}={show(getattr(value, f.name))}' for f in fields(value))})"
    return f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else repr(value)
