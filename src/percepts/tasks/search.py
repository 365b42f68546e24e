"""Search job directories for the moments that fit a text, an image or audio, by vectors, labels and words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from ..encoders.registry import reload_encoder
from ..errors import MissingExtra, SearchError, UnknownModel, WeightsError
from ..media import Probe, Source, probe
from ..media.source import name_of
from ..stores import exact
from ..stores.bm25 import search_labels, search_text
from ..stores.manifest import read_manifest
from ..stores.parquet import read_specs
from ..stores.rank_fusion import reciprocal_rank_fusion
from ..stores.remote import display_name, make_local_copy
from ..stores.scoring import Hit, Hits, Match, RowFilter
from ..support.deprecated import OldArgument, accept_old_arguments
from ..types import Encoder, Kind, Spec, TextEncoder
from .embed import EmbedTask
from .settings import identify_model, upgrade_identity

__all__ = ["Hit", "Hits", "Match", "search"]

log = logging.getLogger(__name__)


MERGE_DEPTH = 50
"""Hits taken from each table where several answer: a hit that is tenth in two may beat one that is first in one."""


class FilterKeywords(TypedDict, total=False):
    """Conditions on the hits of a search, as `search` documents them."""

    kind: Kind | None
    under: str | Path | None
    after: float | None
    before: float | None


@accept_old_arguments(sound=OldArgument("audio"), folder=OldArgument("under"))
def search(
    directory: str | Path | Sequence[str | Path],
    query: str | None = None,
    *,
    image: Source | None = None,
    audio: Source | None = None,
    k: int = 10,
    model: str | None = None,
    **filters: Unpack[FilterKeywords],
) -> Hits:
    """Find the k moments that fit a text, an image or an audio file best. Give exactly one of the three.

    A text is searched among vectors and in the labels, captions, answers and transcripts of every directory; `matches`
    of each hit says by which of these it was found, and with which words. Images and audio are searched among vectors
    alone.

    Every model has its own table. In each directory, the first table of vectors whose encoder can read the query is
    searched, and every table of labels or text; the ranks of several tables are combined. Long audio is searched by the
    mean of its windows. The index of vectors is updated first, which takes seconds after a job.

    Args:
        directory: a job directory, as `embed` or `transcribe` writes it, here or in an object store; or several.
        query: a text.
        image: path or bytes of an image.
        audio: path or bytes of an audio file, or of a video with an audio track.
        k: the largest number of hits.
        model: search only the table of this model.
        filters: `kind` (search only images ("image"), audio files ("audio") or videos ("video")), `under` (only sources
            in this folder, at any depth; or only this file), `after` and `before` (only what begins at this second of
            its source or later, and only what begins before it; an image begins at 0).

    Returns:
        Hits, best first, each with its record (source, start and stop in seconds), its score and its matches. If one
        table of vectors was searched, scores are cosines. `.model` names the tables that were searched; `.recall` is
        None where every row was compared, as in all but large tables.

    Raises:
        SearchError: not exactly one query, or no table that can answer it; the message lists the tables.
        JobError: there is no such directory, or it is damaged.
        FileNotFoundError, MediaError: the image or audio cannot be opened.

    >>> import percepts
    >>> percepts.search("vectors/", "a cup of coffee", k=3, kind="image")  # doctest: +SKIP
    >>> percepts.search(["vectors/", "captions/"], "a cup of coffee")[0].matches  # doctest: +SKIP
    >>> percepts.search("vectors/", image="cat.jpg", under="photos/2024")  # doctest: +SKIP
    """
    # Blank words are no query.
    queries = {"text": (query or "").strip() or None, "image": image, "audio": audio}
    asked = [(name, content) for name, content in queries.items() if content is not None]
    if len(asked) != 1:
        raise SearchError(
            f"expected one query, a text, an image or an audio file; got {' and '.join(n for n, _ in asked) or 'none'}"
        )
    (name, content), where = asked[0], _make_filter(**filters)
    directories = [directory] if isinstance(directory, str | Path) else list(directory)
    places = [make_local_copy(place) for place in directories]
    why_not: list[str] = []
    encoders = [(place, _find_encoder(place, name, model, why_not)) for place in places]
    tables = [table for place in places for table in _list_text_tables(place, model)] if name == "text" else []
    vectors = [(place, encoder) for place, encoder in encoders if encoder is not None]
    if not vectors and not tables:
        named = ", ".join(map(display_name, directories)) or "no directory"
        raise SearchError(
            f"{named}: no table here can be asked with {_QUERY_KINDS[name].description} "
            f"({'; '.join(why_not) or 'there is none'}); `percepts models` lists the encoders"
        )
    depth = k if len(vectors) + len(tables) == 1 and len(places) == 1 else max(k, MERGE_DEPTH)
    found = [_search_vectors(place, encoder, name, content, depth, where) for place, encoder in vectors]
    return _merge_hits(_merge_by_model(found), tables, str(query), k, depth, where)


def _make_filter(
    kind: Kind | None = None,
    under: str | Path | None = None,
    after: float | None = None,
    before: float | None = None,
) -> RowFilter:
    return RowFilter(kind, under, after, before)


def _search_vectors(place: Path, encoder: Encoder, name: str, content: Any, k: int, where: RowFilter) -> Hits:
    # The query is decoded as the job decoded its media: another size makes the vectors drift.
    exact_decoding = bool(read_manifest(place).fingerprint.get("exact"))
    # The encoder is passed in, since the task would load it a second time.
    task = EmbedTask((encoder.spec,), exact=exact_decoding, _encoders={encoder.spec.name: encoder})
    return _search_nearest(place, encoder.spec.name, _QUERY_KINDS[name].vector(task, encoder, content), k, where)


def _merge_by_model(found: Iterable[Hits]) -> list[Hits]:
    """Merge the hits of tables of one model, since their cosines can be compared."""
    merged: dict[str, Hits] = {}
    for hits in found:
        if hits.model in merged:
            # Source and start decide between equal scores, so that the order is the same at every run.
            both = sorted([*merged[hits.model], *hits], key=lambda h: (-h.score, h.record.source, h.record.start))
            recalls = [recall for recall in (merged[hits.model].recall, hits.recall) if recall is not None]
            # The lowest: it has to hold for all of them.
            hits = Hits(both, hits.model, min(recalls, default=None))
        merged[hits.model] = hits
    return list(merged.values())


def _merge_hits(
    vectors: list[Hits], tables: list[tuple[Path, str]], query: str, k: int, depth: int, where: RowFilter
) -> Hits:
    """Return one list of all hits; as it is where only one table answered."""
    said = [ask(place, model, query, depth, where) for place, model in tables for ask in (search_text, search_labels)]
    recall = next((hits.recall for hits in vectors if hits.recall is not None), None)
    models = " + ".join(dict.fromkeys([*(hits.model for hits in vectors), *(model for _, model in tables)]))
    lists = [*vectors, *(hits for hits in said if hits)]
    alone = len(vectors) + len(tables) == 1 and len(lists) <= 1
    return Hits(lists[0][:k] if alone and lists else reciprocal_rank_fusion(lists, k), models, recall)


def _list_text_tables(place: Path, model: str | None) -> list[tuple[Path, str]]:
    """Return the tables of labels or text of a directory."""
    return [(place, name) for name, spec in read_specs(place).items() if not spec.dim and model in (None, name)]


@dataclass(frozen=True, slots=True)
class _QueryKind:
    """A kind of query: its description, which encoders can read it, and how it becomes a (D,) vector."""

    description: str
    can_read: Callable[[Encoder], bool]
    vector: Callable[[EmbedTask, Encoder, Any], np.ndarray]


def _embed_text(task: EmbedTask, encoder: Encoder, text: str) -> np.ndarray:
    assert isinstance(encoder, TextEncoder)
    return np.asarray(encoder.encode_text([text])[0])


def _embed_image(task: EmbedTask, encoder: Encoder, source: Source) -> np.ndarray:
    return _embed_media(task, encoder, source, lambda medium: medium.kind == "image", "an image")


def _embed_audio(task: EmbedTask, encoder: Encoder, source: Source) -> np.ndarray:
    return _embed_media(task, encoder, source, lambda medium: medium.audio, "audio or a video with audio")


def _embed_media(
    task: EmbedTask, encoder: Encoder, source: Source, fits: Callable[[Probe], bool], expected: str
) -> np.ndarray:
    """Return the sum of the directions of all windows, by the same code as the vectors of a job."""
    medium, notes = probe(source), list[str]()
    named = name_of(source)
    if not fits(medium):
        raise SearchError(f"{named}: expected {expected}, got {medium.kind} ({medium.format})")
    total, _ = task.sum_directions(source, medium, notes)
    for note in notes:
        log.warning("%s: asking with what could be decoded: %s", named, note)
    return total.astype(np.float32)


_QUERY_KINDS = {
    "text": _QueryKind("a text", lambda encoder: isinstance(encoder, TextEncoder), _embed_text),
    "image": _QueryKind("an image", lambda encoder: encoder.spec.kind == "image", _embed_image),
    "audio": _QueryKind("an audio file", lambda encoder: encoder.spec.kind == "audio", _embed_audio),
}
"""A new kind of query is a row here."""


def _find_encoder(directory: Path, name: str, model: str | None, why_not: list[str]) -> Encoder | None:
    """Return the encoder of the first table that can read the query, in the order of the models of the job."""
    tables = read_specs(directory)
    if model is not None and model not in tables:
        why_not.append(f"{directory}: no table of {model!r}; there are: {', '.join(tables) or 'none'}")
        return None
    for spec in tables.values() if model is None else [tables[model]]:
        encoder = _load_matching(directory, spec, why_not) if spec.dim else None
        if encoder is not None and _QUERY_KINDS[name].can_read(encoder):
            return encoder
        if encoder is not None:
            why_not.append(f"{spec.name} takes {_list_query_kinds(encoder)}")
        elif not spec.dim:
            why_not.append(f"{spec.name} holds labels or text, no vectors")
    return None


def _load_matching(directory: Path, spec: Spec, why_not: list[str]) -> Encoder | None:
    """Return the encoder of a table, if it is here and still makes the same vectors as those in the table."""
    try:
        encoder = _load_cached(spec)
        now = identify_model(encoder.spec)
    except (UnknownModel, MissingExtra, WeightsError) as error:
        why_not.append(str(error))
        return None
    # As this release describes models, or every job of an older one would seem to differ.
    made = upgrade_identity(read_manifest(directory).fingerprint.get("models", {}).get(spec.name))
    if made is None or made == now:
        return encoder
    changed = ", ".join(f"{key} {made.get(key)!r} → {now.get(key)!r}" for key in now if made.get(key) != now.get(key))
    why_not.append(
        f"the vectors were made with a different version of {spec.name} ({changed}); re-run `percepts embed`"
    )
    return None


@cache
def _load_cached(spec: Spec) -> Encoder:
    """Return the encoder of a table, one for each process: its weights load once, however many queries come."""
    return reload_encoder(spec)


def _list_query_kinds(encoder: Encoder) -> str:
    return ", ".join(name for name, asked in _QUERY_KINDS.items() if asked.can_read(encoder)) or encoder.spec.kind


def _search_nearest(directory: str | Path, model: str, vector: np.ndarray, k: int, where: RowFilter) -> Hits:
    from ..stores.lance import VectorIndex  # LanceDB takes a second to import

    try:
        return VectorIndex(directory, model).search(vector, k, where=where)
    except (OSError, RuntimeError) as error:  # LanceDB calls a full disk a RuntimeError
        log.warning("%s: no index can be kept here (%s); looking at every vector instead", directory, error)
    return exact.search_exact(directory, model, vector, k, where=where)
