"""Read the manifest of a job directory and check all of it before anything is used.

A manifest may come from a stranger, by an archive or an object store. Every name of a file in it, every number and
every type is checked here and nowhere else.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from ..errors import JobDamaged, JobError, JobTooNew
from ..support.files import safe_name
from ..types import KINDS, Spec

MANIFEST = "manifest.json"
SCHEMA = 1
"""Version of the layout of a job directory; docs/jobs.md, "Directories of other releases", says when it changes."""
MAX_BYTES = 256 << 20
"""Most bytes of a manifest, enough for some 400,000 parts."""
MAX_DEPTH = 32
"""Most levels of objects and lists in the settings."""
MAX_NUMBER = 2**63  # int64 of numpy and Arrow ends below it
# a number of 18 digits is below MAX_NUMBER
PART_NAME = re.compile(r"(?:data/(?P<folder>[A-Za-z0-9_.-]+)|ledger)/part-(?P<number>[0-9]{6,18})\.parquet")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PartInfo:
    """A file that a manifest lists. `name` is relative to the job directory, with forward slashes."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Part:
    """Files that were committed together: one of vectors per model, and the ledger of the finished sources."""

    number: int
    data: Mapping[str, PartInfo]
    ledger: PartInfo | None = None

    @property
    def files(self) -> list[PartInfo]:
        """All files of this part."""
        return [*self.data.values(), *([self.ledger] if self.ledger else [])]


@dataclass(frozen=True, slots=True)
class ManifestContents:
    """What a manifest says, checked; see `percepts.jobs.storage.ledger.Manifest` for the meaning of each."""

    fingerprint: dict[str, Any]
    models: dict[str, Any]
    specs: dict[str, Spec]
    parts: tuple[Part, ...]
    unfinished: list[str]
    counts: dict[str, int]
    versions: dict[str, str]
    schema: int
    next_part: int

    @property
    def files(self) -> dict[str, PartInfo]:
        """All files that count, by name."""
        return {info.name: info for part in self.parts for info in part.files}


def read_manifest(directory: str | Path) -> ManifestContents:
    """Read the manifest of a job directory.

    Raises:
        JobError: there is none.
        JobDamaged: it cannot be read, or something in it is not what percepts writes; the message names the field.
    """
    path = Path(directory) / MANIFEST
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait forever
            raise JobDamaged(f"{path}: is not a regular file; {_describe_cure(directory)}")
        if status.st_size > MAX_BYTES:
            raise JobDamaged(
                f"{path}: {status.st_size:,} bytes, expected at most {MAX_BYTES:,}; {_describe_cure(directory)}"
            )
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise JobError(
            f"{directory}: no {MANIFEST} here, so this is not a directory that a job wrote; "
            f"make one, say with: percepts embed SOURCES -o {directory}"
        ) from error
    return parse_manifest(data, str(directory))


def parse_manifest(data: bytes, directory: str) -> ManifestContents:
    """Check the bytes of a manifest, as `read_manifest` does; `directory` names the job directory in messages."""
    where = f"{directory.rstrip('/')}/{MANIFEST}"
    if len(data) > MAX_BYTES:
        raise JobDamaged(
            f"{where}: more than the {MAX_BYTES:,} bytes that a manifest may have; {_describe_cure(directory)}"
        )
    try:
        # decoded here, because json.loads would guess UTF-16 and UTF-32 as well
        raw = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise JobDamaged(f"{where}: not JSON: {error}; {_describe_cure(directory)}") from error
    try:
        return _parse_contents(raw)
    except _FieldError as error:
        raise JobDamaged(f"{where}: {error}; {_describe_cure(directory)}") from error
    except JobTooNew as error:
        raise JobTooNew(f"{where}: {error}") from error


def is_part_name(name: str) -> bool:
    """Return whether a name, relative to a job directory, is that of a part. No other file of a manifest is opened."""
    match = PART_NAME.fullmatch(name)
    # the folders . and .. would lead out of data/
    return match is not None and set(match["folder"] or "x") != {"."}


def check_settings(raw: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check `fingerprint` and `models` as a part of the ledger stores them, and return both.

    ValueError where something in them is wrong, JobTooNew where a newer release wrote them.
    """
    check_schema(_require_object("", raw).get("schema", 1))  # the first release did not write it
    models = _require_object("models", raw.get("models"))
    for name, model in models.items():
        _parse_spec(name, model)
    return _parse_settings(raw.get("fingerprint")), models


def check_schema(number: Any) -> None:
    """Raise JobTooNew for the layout of a newer release, ValueError for anything but a known number."""
    if type(number) is int and SCHEMA < number < MAX_NUMBER:
        raise JobTooNew(
            f"a newer release of percepts made it (layout {number}; this one knows {SCHEMA}): "
            "update percepts with pip install -U percepts. Nothing was changed"
        )
    if number != SCHEMA or type(number) is not int:  # True == 1, and JSON has true
        _raise_field_error("schema", f"{SCHEMA}", number)


def _describe_cure(directory: str | Path) -> str:
    return f"restore it, or `percepts verify {directory} --repair` makes it again from the parts"


class _FieldError(ValueError):
    """A field of a manifest that has a wrong value."""


def _raise_field_error(field: str, expected: str, got: Any) -> NoReturn:
    shown = "an object" if isinstance(got, dict) else "a list" if isinstance(got, list) else repr(got)
    # 100 characters, because a hostile field may have megabytes
    raise _FieldError(f"{f'{field}: ' if field else ''}expected {expected}, got {shown[:100]}")


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


# Fields


def _parse_contents(raw: Any) -> ManifestContents:
    _require_object("", raw)
    check_schema(raw.get("schema"))
    known = {field.name for field in fields(ManifestContents)} - {"specs"}  # specs are made from models
    if missing := known - raw.keys():
        raise _FieldError(f"{', '.join(sorted(missing))} missing")
    if unknown := raw.keys() - known:
        raise _FieldError(f"{sorted(unknown)[0][:100]!r} is unknown to this version of percepts")
    models = _require_object("models", raw["models"])
    specs = {name: _parse_spec(name, model) for name, model in models.items()}
    next_part = _require_count("next_part", raw["next_part"])
    return ManifestContents(
        _parse_settings(raw["fingerprint"]),
        models,
        specs,
        tuple(_parse_parts(raw["parts"], specs, next_part)),
        _parse_list("unfinished", raw["unfinished"], _require_text),
        _parse_map("counts", raw["counts"], _require_count),
        _parse_map("versions", raw["versions"], _require_text),
        SCHEMA,
        next_part,
    )


def _parse_settings(raw: Any) -> dict[str, Any]:
    settings = _require_object("fingerprint", raw)
    _check_depth("fingerprint", settings)
    _parse_map("fingerprint.models", settings.get("models", {}), _require_object)
    return settings


def _parse_parts(raw: Any, specs: Mapping[str, Spec], next_part: int) -> Iterator[Part]:
    numbers: set[int] = set()
    names: set[str] = set()
    for part in _parse_list("parts", raw, lambda field, part: _parse_part(field, part, specs)):
        for number in (part.number, *(_part_number(info.name) for info in part.files)):
            if number >= next_part:
                raise _FieldError(f"next_part: expected more than {number}, the number of a part, got {next_part}")
        if part.number in numbers:
            raise _FieldError(f"parts: two have the number {part.number}")
        numbers.add(part.number)
        for info in part.files:
            if info.name in names:
                raise _FieldError(f"parts: {info.name} is listed twice")
            names.add(info.name)
        yield part


def _parse_part(field: str, raw: Any, specs: Mapping[str, Spec]) -> Part:
    _require_keys(field, raw, {"number", "data", "ledger"})
    data = _parse_map(f"{field}.data", raw["data"], _parse_part_info)
    for model, info in data.items():
        if model not in specs:
            raise _FieldError(f"{field}.data: a table of {model[:100]!r}, which models does not have")
        _check_folder(f"{field}.data.{model}.name", info.name, f"data/{safe_name(model)}")
    ledger = None if raw["ledger"] is None else _parse_part_info(f"{field}.ledger", raw["ledger"])
    if ledger:
        _check_folder(f"{field}.ledger.name", ledger.name, "ledger")
    part = Part(_require_count(f"{field}.number", raw["number"]), data, ledger)
    for info in part.files:  # a repaired part gets a newer number, while its files that lost no rows keep their names
        if _part_number(info.name) > part.number:
            raise _FieldError(f"{field}.number: expected at least that of {info.name}, got {part.number}")
    return part


def _parse_part_info(field: str, raw: Any) -> PartInfo:
    _require_keys(field, raw, {each.name for each in fields(PartInfo)})
    name = _require_text(f"{field}.name", raw["name"])
    if not is_part_name(name):
        _raise_field_error(f"{field}.name", "data/MODEL/part-NNNNNN.parquet or ledger/part-NNNNNN.parquet", name)
    sha256 = _require_text(f"{field}.sha256", raw["sha256"])
    if not _SHA256.fullmatch(sha256):
        _raise_field_error(f"{field}.sha256", "64 hexadecimal digits", sha256)
    return PartInfo(
        name, _require_count(f"{field}.rows", raw["rows"]), _require_count(f"{field}.bytes", raw["bytes"]), sha256
    )


def _part_number(name: str) -> int:
    match = PART_NAME.fullmatch(name)
    assert match is not None, name  # _parse_part_info has checked the name
    return int(match["number"])


def _check_folder(field: str, name: str, folder: str) -> None:
    if name.rpartition("/")[0] != folder:
        _raise_field_error(field, f"a file in {folder}/", name)


def _parse_spec(name: str, raw: Any) -> Spec:
    """Check an entry of `models`. Keys that this version does not know are allowed."""
    field = f"models.{name[:100]}"
    _require_text(field, name)
    model = _require_object(field, raw)
    _check_depth(field, model)
    _require_text(f"{field}.runtime", model.get("runtime", ""))
    _require_text(f"{field}.graph", model.get("graph", ""))
    row = _require_object(f"{field}.spec", model.get("spec"))
    spec = Spec(**{each.name: _parse_spec_field(f"{field}.spec.{each.name}", each, row) for each in fields(Spec)})
    if spec.name != name or not name:
        _raise_field_error(f"{field}.spec.name", repr(name), spec.name)
    if spec.kind not in KINDS:
        _raise_field_error(f"{field}.spec.kind", f"one of {', '.join(KINDS)}", spec.kind)
    return spec


_LATER_FIELDS = frozenset({"extra", "size", "revision", "summary", "precision"})
"""Fields of a Spec that manifests of the first release lack; a manifest without another one is refused."""


def _parse_spec_field(field: str, each: Field[Any], row: Mapping[str, Any]) -> Any:
    if each.name not in row and each.name in _LATER_FIELDS:
        return each.default
    return _CHECKS[str(each.type)](field, row.get(each.name))


# Types


def _require_object(field: str, raw: Any) -> dict[str, Any]:
    return raw if isinstance(raw, dict) else _raise_field_error(field, "an object", raw)


def _require_keys(field: str, raw: Any, keys: set[str]) -> None:
    if _require_object(field, raw).keys() != keys:
        _raise_field_error(field, f"an object of {', '.join(sorted(keys))}", ", ".join(sorted(raw)))


def _require_text(field: str, raw: Any) -> str:
    if not isinstance(raw, str) or not _is_unicode(raw):
        _raise_field_error(field, "a text", raw)
    return raw


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode("utf-8"))
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _require_count(field: str, raw: Any) -> int:
    if type(raw) is not int or not 0 <= raw < MAX_NUMBER:  # not isinstance: a bool is an int
        _raise_field_error(field, "a whole number of 0 or more", raw)
    return raw


def _require_number(field: str, raw: Any) -> float:
    # json reads 1e999 as infinity
    if type(raw) not in (int, float) or not 0 <= raw < MAX_NUMBER or not math.isfinite(raw):
        _raise_field_error(field, "a number of 0 or more", raw)
    return float(raw)


def _parse_list(field: str, raw: Any, check: Callable[[str, Any], _T]) -> list[_T]:
    if not isinstance(raw, list):
        _raise_field_error(field, "a list", raw)
    return [check(f"{field}[{number}]", each) for number, each in enumerate(raw)]


def _parse_map(field: str, raw: Any, check: Callable[[str, Any], _T]) -> dict[str, _T]:
    return {
        _require_text(field, key): check(f"{field}.{key[:100]}", each)
        for key, each in _require_object(field, raw).items()
    }


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "str": _require_text,
    "Kind": _require_text,
    "int": _require_count,
    "float": _require_number,
    "tuple[str, ...]": lambda field, raw: tuple(_parse_list(field, raw, _require_text)),
}
"""Checks of the fields of `Spec`, by their annotations."""


def _check_depth(field: str, raw: Any) -> None:
    """Refuse values that are nested too deeply to be copied and written again, and text that is not Unicode."""
    level = [raw]
    for _ in range(MAX_DEPTH):  # level by level: recursion would fail on the very input that this refuses
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                for key, value in each.items():
                    _require_text(field, key)
                    inner.append(value)
            elif isinstance(each, list):
                inner += each
            elif isinstance(each, str):
                _require_text(field, each)
        if not inner:
            return
        level = inner
    raise _FieldError(f"{field}: more than {MAX_DEPTH} objects and lists within each other")
