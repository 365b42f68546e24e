"""Turn the fields of a task into the settings that a job directory keeps, and stored settings back into a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, fields, is_dataclass, replace
from typing import Any

from ..diarization.clustering import SpeakerCount
from ..encoders import is_hub_spec
from ..errors import JobError
from ..types import Spec
from ..weights import hash_weights

IDENTITY_FIELDS = ("kind", "rate", "window", "dim", "pool", "size", "revision", "precision")
"""Fields of a Spec that change a number, beside the digest of its weights. The others do not count: where its class
lives, its licence, its summary."""
_LATER_FIELDS = {"size": 0, "revision": "1", "precision": "float32"}
"""IDENTITY_FIELDS that came after the first release, and what settings without them meant."""

OLDER_DEFAULTS: Mapping[str, Any] = {"fps": 1.0, "hop": None, "tail": "pad", "exact": False, "whole": False}
"""Settings of how media is cut that an older release did not know yet, and the values that it meant."""
MEDIA_TASKS = frozenset({"embed", "classify", "zero-shot", "caption", "ask"})
"""Tasks that cut media so. Their models are described by IDENTITY_FIELDS."""

_SETTING = "percepts.setting"  # with our name: all libraries share the metadata of a dataclass field


@dataclass(frozen=True, slots=True)
class Setting:
    """How a field of a task is written into its settings and read back.

    key    its name there; "": its own fields stand there, each by its name
    write  value → JSON
    read   (JSON, Specs of the tables) → value
    """

    key: str
    write: Callable[[Any], Any]
    read: Callable[[Any, Sequence[Spec]], Any]


def setting(
    key: str,
    write: Callable[[Any], Any] = lambda value: value,
    read: Callable[[Any, Sequence[Spec]], Any] = lambda value, specs: value,
) -> dict[str, Any]:
    """Return the metadata of a field that stands in the settings in another way than by its own name and value."""
    return {_SETTING: Setting(key, write, read)}


def inline(kind: type) -> dict[str, Any]:
    """Return the metadata of a field that is a dataclass, whose fields stand among those of the task."""
    return setting("", to_settings, lambda stored, specs: kind(**read_arguments(kind, stored, specs)))


SPEAKERS_SETTING = setting("speakers", asdict, lambda stored, specs: SpeakerCount(**stored))
"""Metadata of the field that holds how many speakers there may be."""
NO_SETTING: Mapping[str, Any] = {_SETTING: None}
"""Metadata of a field that changes no result."""


def to_settings(task: Any) -> dict[str, Any]:
    """Return every field of a task, or of a dataclass in it, that changes a result, as JSON."""
    found: dict[str, Any] = {}
    for name, how in _list_settings(type(task)):
        value = how.write(getattr(task, name))
        found |= value if not how.key else {how.key: _as_json(value)}
    return found


def read_arguments(kind: type, stored: Mapping[str, Any], specs: Sequence[Spec]) -> dict[str, Any]:
    """Return the arguments of a task's class that give it these settings; what is not stored keeps its default."""
    found = {}
    for name, how in _list_settings(kind):
        if not how.key:
            found[name] = how.read(stored, specs)
        elif how.key in stored:
            found[name] = how.read(_from_json(stored[how.key]), specs)
    return found


def upgrade_settings(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings, of whatever release, as this one compares them.

    What a release kept and this one no longer compares is left out, and what it did not know yet is filled in with the
    value that it meant. This is the one place that knows of older releases.
    """
    if stored.get("task") not in MEDIA_TASKS or not isinstance(stored.get("models"), Mapping):
        return dict(stored)
    models = {name: upgrade_identity(facts) for name, facts in stored["models"].items()}
    # The later one wins: what was stored stands.
    return {**OLDER_DEFAULTS, **stored, "models": models}


def upgrade_identity(stored: Any) -> Any:
    """Return what changes the numbers of a model, as an older release kept it, as `identity` gives it today."""
    if not isinstance(stored, Mapping):
        return stored
    # The right side wins: what was stored stands. `target` says where a class lives, which may move.
    return _LATER_FIELDS | {k: v for k, v in stored.items() if k != "target"}


def identify_model(spec: Spec) -> dict[str, Any]:
    """Return what changes the numbers of a model: IDENTITY_FIELDS and the digest of its weights."""
    return {name: getattr(spec, name) for name in IDENTITY_FIELDS} | {"weights": hash_weights(spec.weights)}


def identify_models(specs: Sequence[Spec]) -> dict[str, Any]:
    """Return `identity` of each by its name."""
    return {spec.name: identify_model(spec) for spec in specs}


def restore_specs(stored: Mapping[str, Any], specs: Sequence[Spec]) -> tuple[Spec, ...]:
    """Return the Specs of the models of stored settings: a checkpoint, which can be asked for in several ways, as then.

    `specs` are those of the tables, as this release knows them; of a table without vectors they say no `dim`.
    """
    return tuple(
        replace(spec, **{name: value for name, value in stored[spec.name].items() if name in IDENTITY_FIELDS})
        if is_hub_spec(spec)
        else spec
        for spec in specs
        if spec.name in stored
    )


def get_only(values: Sequence[Any], what: str) -> Any:
    """Return the only value; JobError where there is none, or there are several."""
    if len(values) != 1:
        raise JobError(f"expected one {what} in the settings, got {len(values)}")
    return values[0]


def _list_settings(kind: type) -> list[tuple[str, Setting]]:
    assert is_dataclass(kind)
    return [(field.name, how) for field in fields(kind) if (how := _get_setting(field)) is not None]


def _get_setting(field: Field[Any]) -> Setting | None:
    if field.name.startswith("_"):
        return None
    plain = Setting(field.name, lambda value: value, lambda value, specs: value)
    found: Setting | None = field.metadata.get(_SETTING, plain)
    return found


def _as_json(value: Any) -> Any:
    # JSON has no tuples, and what is read back has to equal what was written.
    return list(value) if isinstance(value, tuple) else value


def _from_json(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
