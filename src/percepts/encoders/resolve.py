"""Find the model that a name means, in the same way and with the same errors for every verb."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import UnknownModel
from ..types import Spec
from ..weights.checkpoint import Checkpoint, hash_checkpoint, is_present, resolve_name
from .hub.catalog import CATALOG

TARGETS = "percepts.encoders"
"""Package that relative targets of a Spec begin from."""
FindTarget = Callable[[Checkpoint, str], str]
"""(checkpoint, name) → the class that runs it, as `Spec.target`; raises UnknownModel where there is none."""


@dataclass(frozen=True, slots=True)
class ModelKind:
    """The models that a verb can use, as its errors describe them.

    names     short names, for suggestions; one of `CATALOG` that is not among them is refused before it is fetched
    noun      what such a model is called: "encoder"
    verb      completes "a model that can …"; "" where the noun says it
    families  what the verb takes, for people; "" where `percepts models` lists it
    """

    names: Collection[str]
    noun: str = "model"
    verb: str = ""
    families: str = ""


def resolve_model(
    model: str | Spec, kind: ModelKind, find_target: FindTarget, specs: Mapping[str, Spec] | None = None
) -> Spec:
    """Return the Spec that a short name, a Hugging Face id ("owner/name@revision"), a folder or a Spec means.

    A folder's model is named after the folder and eight digits of the digest of its contents. So two folders of one
    name can be used together, and a folder that is moved keeps its name.

    Args:
        model: the name that the user gave. A Spec is returned as it is.
        kind: what the verb wants, for the errors.
        find_target: returns the class that runs a checkpoint.
        specs: models whose Spec is known without looking at their files.

    Raises:
        UnknownModel: there is no such model, or the verb cannot use it.
        WeightsError: there is nothing to read.
    """
    if isinstance(model, Spec):
        return model
    if specs and model in specs:
        return pin_revision(specs[model])
    where = locate_checkpoint(model, kind)
    checkpoint = Checkpoint.open(where)
    target = find_target(checkpoint, model)
    facts = import_target(target).describe(checkpoint)
    # typed names stay as they are, so that the same command finds the same table again
    name = f"{Path(where).name}@{hash_checkpoint(where)[:8]}" if Path(where).is_absolute() else model
    summary = f"{checkpoint.model_type} checkpoint {model}"
    known = {"name": name, "kind": "image", "target": target, "weights": (where,), "license": checkpoint.license}
    # Facts last: a head says the weights and the licence of its encoder, too.
    return Spec(**{**known, "summary": summary, **facts})


def refresh_target(spec: Spec, find_target: FindTarget) -> Spec:
    """Return a stored Spec with the class that runs its checkpoint today.

    The class that it names is never imported: it may have moved since, and a stranger may have written it.

    Raises:
        UnknownModel: no class runs it any more.
        WeightsError: the checkpoint cannot be found.
    """
    return replace(spec, target=find_target(Checkpoint.open(spec.weights[0]), spec.name))


def locate_checkpoint(name: str, kind: ModelKind) -> str:
    """Return where the weights of a model are: the absolute path of a folder, or "owner/name@revision".

    Raises:
        UnknownModel: the name means no checkpoint, or a short name means one that the verb cannot use.
        WeightsError: a folder holds no checkpoint, or the repository cannot be reached.
    """
    # The full name has the pinned commit, so every verb uses the same bytes.
    if name in CATALOG and name in kind.names:
        name = CATALOG[name].weights[0]
    where = None if name in CATALOG else resolve_name(name)
    if where is None:
        raise UnknownModel(explain_unknown(name, kind))
    return where


def pin_revision(spec: Spec) -> Spec:
    """Return a Spec of a branch with the commit of the branch that is in the cache; nothing is fetched for it."""
    repository, _, revision = spec.weights[0].partition("@") if spec.weights else ("", "", "")
    # A branch moves: a table that names it would not say which weights made its vectors.
    if revision != "main" or not is_present(spec.weights[0]):
        return spec
    return replace(spec, weights=(resolve_name(repository) or spec.weights[0],))


def import_target(target: str) -> Any:
    """Return the class that `Spec.target` names."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module, TARGETS), attribute)


def explain_unknown(name: str, kind: ModelKind) -> str:
    """Return the message for a name that means no model, with the names it may have been meant for."""
    similar = find_similar(name, kind.names)
    parts = [
        f"no {kind.noun} called {name!r}{f' that can {kind.verb}' if kind.verb else ''}.",
        f"Did you mean {_join_choices(similar)}?" if similar else "",
        "`percepts models` and `percepts models --hub` list the short names; "
        "a Hugging Face id (owner/name) or a folder with config.json works, too",
        f"(families: {kind.families})" if kind.families else "",
    ]
    return " ".join(filter(None, parts))


def explain_family(name: str, model_type: str, kind: ModelKind, families: Iterable[str]) -> str:
    """Return the message for a checkpoint of a family that the verb cannot use."""
    purpose = f" to {kind.verb}" if kind.verb else ""
    return f"{name}: no family{purpose} for model_type {model_type!r} (config.json); there are: {', '.join(families)}"


def _join_choices(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def find_similar(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """Return the names that somebody may have meant: those that contain the word first, then those spelled alike.

    >>> find_similar("clip", ["conse", "clip-b32", "clap-fused", "clip-l14"])
    ['clip-b32', 'clip-l14']
    """
    word = name.lower()
    # A part of a name is spelled unlike the whole, so difflib alone misses it.
    inside = [known for known in names if word and word in known]
    others = [known for known in names if known not in inside]
    return [*inside, *difflib.get_close_matches(word, others, most, cutoff=0.5)][:most]
