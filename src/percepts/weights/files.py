"""Answer what every kind of weights asks: the digest of a file, and whether fetching is allowed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_offline() -> bool:
    """Return whether PERCEPTS_OFFLINE forbids fetching; "" and "0" do not."""
    return os.environ.get("PERCEPTS_OFFLINE", "0") not in ("", "0")
