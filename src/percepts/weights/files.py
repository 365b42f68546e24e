"""Answer what every kind of weights asks: the digest of a file, and whether fetching is allowed."""

from __future__ import annotations

import os

from ..support.files import hash_file

__all__ = ["hash_file", "is_offline"]


def is_offline() -> bool:
    """Return whether PERCEPTS_OFFLINE forbids fetching; "" and "0" do not."""
    return os.environ.get("PERCEPTS_OFFLINE", "0") not in ("", "0")
