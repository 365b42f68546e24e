"""A text, a picture or a sound in, the nearest moments of a job directory out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..encoders._registry import reload
from ..encoders.pooling import normalise
from ..errors import MissingExtra, SearchError, UnknownModel, WeightsError
from ..media import Probe, Source, probe
from ..stores import exact
from ..stores.parquet import read_manifest, specs
from ..stores.ranking import Filter, Hit, Hits
from ..types import Encoder, Kind, Spec, TextEncoder
from .embed import Embed

__all__ = ["Hit", "Hits", "search"]

log = logging.getLogger(__name__)


def search(
    directory: str | Path,
    query: str | None = None,
    *,
    image: Source | None = None,
    sound: Source | None = None,
    k: int = 10,
    kind: Kind | None = None,
    folder: str | Path | None = None,
    after: float | None = None,
    before: float | None = None,
    model: str | None = None,
) -> Hits:
    """The k moments nearest to a text, a picture or a sound: exactly one of the three.

    Every model has its own table. The first one whose encoder can read the query answers; a long sound is the mean of
    its windows. The index in the directory is brought up to date first, which after a job takes seconds.

    Args:
        directory: what `embed` wrote.
        query: a text.
        image: path or bytes of a picture.
        sound: path or bytes of a recording, or of a film with sound.
        k: how many hits, at most.
        kind: only from pictures ("image"), recordings ("audio") or films ("video").
        folder: only sources in this folder, at any depth; or that one file.
        after: only what begins at this second of its source or later. A picture begins at 0.
        before: only what begins before this second.
        model: the table to ask.

    Returns:
        Hits, best first, each with its record (source, start and stop in seconds) and its score, a cosine. `.model`
        is the table that answered; `.recall` is None where every vector was looked at, as in all but large tables.

    Raises:
        SearchError: not one query, or no table that can answer it; the message says what there is.
        JobError: no such directory, or damaged.
        FileNotFoundError, MediaError: the picture or sound cannot be opened.

    >>> import percepts
    >>> percepts.search("vectors/", "a cup of coffee", k=3, kind="image")  # doctest: +SKIP
    >>> percepts.search("vectors/", image="cat.jpg", folder="photos/2024")  # doctest: +SKIP
    """
    queries = {"text": (query or "").strip() or None, "image": image, "sound": sound}
    asked = [(name, content) for name, content in queries.items() if content is not None]
    if len(asked) != 1:
        raise SearchError(
            f"expected one query, a text or an image or a sound; got {' and '.join(n for n, _ in asked) or 'none'}"
        )
    (name, content), where = asked[0], Filter(kind, folder, after, before)
    encoder = _answering(Path(directory), name, model)
    exact_decoding = bool(read_manifest(directory).get("fingerprint", {}).get("exact"))
    task = Embed((encoder.spec,), exact=exact_decoding, _encoders={encoder.spec.name: encoder})
    return _nearest(directory, encoder.spec.name, _ASKED[name].vector(task, encoder, content), k, where)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A way of asking: what it is called, which encoders can read it, how it becomes a (D,) vector."""

    called: str
    can: Callable[[Encoder], bool]
    vector: Callable[[Embed, Encoder, Any], np.ndarray]


def _of_text(task: Embed, encoder: Encoder, text: str) -> np.ndarray:
    assert isinstance(encoder, TextEncoder)
    return np.asarray(encoder.encode_text([text])[0])


def _of_image(task: Embed, encoder: Encoder, source: Source) -> np.ndarray:
    return _of_media(task, encoder, source, lambda medium: medium.kind == "image", "a picture")


def _of_sound(task: Embed, encoder: Encoder, source: Source) -> np.ndarray:
    return _of_media(task, encoder, source, lambda medium: medium.audio, "a recording or a film with sound")


def _of_media(
    task: Embed, encoder: Encoder, source: Source, fits: Callable[[Probe], bool], expected: str
) -> np.ndarray:
    """The mean of the directions of all windows, by the same code as the vectors of a job."""
    medium, notes = probe(source), list[str]()
    named = source if isinstance(source, str | Path) else f"{len(source)} bytes"
    if not fits(medium):
        raise SearchError(f"{named}: expected {expected}, got {medium.kind} ({medium.format})")
    total = np.zeros(encoder.spec.dim)
    for piece in task.pieces(source, medium, notes):
        total += normalise(task.vectors(piece.model, piece.inputs)).sum(axis=0, dtype=np.float64)
    for note in notes:
        log.warning("%s: asking with what could be decoded: %s", named, note)
    return total.astype(np.float32)


_ASKED = {
    "text": _Asked("a text", lambda encoder: isinstance(encoder, TextEncoder), _of_text),
    "image": _Asked("an image", lambda encoder: encoder.spec.kind == "image", _of_image),
    "sound": _Asked("a sound", lambda encoder: encoder.spec.kind == "audio", _of_sound),
}
"""A new way of asking is a row here."""


def _answering(directory: Path, name: str, model: str | None) -> Encoder:
    """Of the first table, in the order in which the models were given to the job, whose encoder can read the query."""
    tables = specs(directory)
    if model is not None and model not in tables:
        raise SearchError(f"{directory}: no vectors of {model!r}; there are: {', '.join(tables) or 'none'}")
    why_not: list[str] = []
    for spec in tables.values() if model is None else [tables[model]]:
        encoder = _usable(directory, spec, why_not)
        if encoder is not None and _ASKED[name].can(encoder):
            return encoder
        if encoder is not None:
            why_not.append(f"{spec.name} takes {_takes(encoder)}")
    raise SearchError(
        f"{directory}: no table here can be asked with {_ASKED[name].called} "
        f"({'; '.join(why_not) or 'there is none'}); `percepts models` lists the encoders"
    )


def _usable(directory: Path, spec: Spec, why_not: list[str]) -> Encoder | None:
    """The encoder of a table, if it is at hand and still makes the same vectors as those in the table."""
    try:
        encoder = _loaded(spec)
        now = Embed((encoder.spec,)).settings()["models"][spec.name]
    except (UnknownModel, MissingExtra, WeightsError) as error:
        why_not.append(str(error))
        return None
    made = read_manifest(directory).get("fingerprint", {}).get("models", {}).get(spec.name)
    if made is None or made == now:
        return encoder
    changed = ", ".join(f"{key} {made.get(key)!r} → {now.get(key)!r}" for key in now if made.get(key) != now.get(key))
    why_not.append(f"{spec.name} gives other vectors by now ({changed}): embed again")
    return None


@cache
def _loaded(spec: Spec) -> Encoder:
    """One encoder of a table per process: its weights load once, however many queries are asked."""
    return reload(spec)


def _takes(encoder: Encoder) -> str:
    return ", ".join(name for name, asked in _ASKED.items() if asked.can(encoder)) or encoder.spec.kind


def _nearest(directory: str | Path, model: str, vector: np.ndarray, k: int, where: Filter) -> Hits:
    from ..stores.lance import Index  # LanceDB takes a second to import

    try:
        return Index(directory, model).search(vector, k, where=where)
    except (OSError, RuntimeError) as error:  # LanceDB calls a full disk a RuntimeError
        log.warning("%s: no index can be kept here (%s); looking at every vector instead", directory, error)
    return exact.search(directory, model, vector, k, where=where)
