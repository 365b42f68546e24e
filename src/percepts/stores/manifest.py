"""Read the manifest of a job directory into checked types; nothing that it says is believed before.

A manifest may come from a stranger, by an archive or an object store. Every name of a file in it, every number and
every type is checked here and nowhere else.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from ..errors import JobDamaged, JobError, JobTooNew
from ..support.files import safe_name
from ..types import KINDS, Spec

MANIFEST = "manifest.json"
SCHEMA = 1
"""Version of the layout of a job directory; docs/jobs.md, "Directories of other releases", says when it changes."""
MAX_BYTES = 256 << 20
"""Bytes of a manifest: some 400,000 parts."""
MAX_DEPTH = 32
"""Objects and lists within each other in the settings."""
MAX_NUMBER = 2**63
PART_NAME = re.compile(r"(?:data/(?P<folder>[A-Za-z0-9_.-]+)|ledger)/part-(?P<number>[0-9]{6,18})\.parquet")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PartInfo:
    """A file as its manifest knows it. `name` is relative to the job directory, with forward slashes."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Part:
    """What was committed together: a file of vectors per model, and the ledger of the sources finished by then."""

    number: int
    data: Mapping[str, PartInfo]
    ledger: PartInfo | None = None

    @property
    def files(self) -> list[PartInfo]:
        """All of its files."""
        return [*self.data.values(), *([self.ledger] if self.ledger else [])]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a manifest says, checked; see `percepts.jobs.ledger.Manifest` for the meaning of each."""

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


def read_manifest(directory: str | Path) -> Contents:
    """Read the manifest of a job directory.

    Raises:
        JobError: there is none.
        JobDamaged: it cannot be read, or something in it is not what percepts writes; the message names the field.
    """
    path = Path(directory) / MANIFEST
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise JobDamaged(f"{path}: is not a regular file; {_cure(directory)}")
        if status.st_size > MAX_BYTES:
            raise JobDamaged(f"{path}: {status.st_size:,} bytes, expected at most {MAX_BYTES:,}; {_cure(directory)}")
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise JobError(
            f"{directory}: no {MANIFEST} here, so this is not a directory that a job wrote; "
            f"make one, say with: percepts embed SOURCES -o {directory}"
        ) from error
    return parse_manifest(data, str(directory))


def parse_manifest(data: bytes, directory: str) -> Contents:
    """Check the bytes of a manifest; `directory` is what messages call the job directory. JobDamaged as above."""
    where = f"{directory.rstrip('/')}/{MANIFEST}"
    if len(data) > MAX_BYTES:
        raise JobDamaged(f"{where}: more than the {MAX_BYTES:,} bytes that a manifest may have; {_cure(directory)}")
    try:
        raw = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise JobDamaged(f"{where}: not JSON: {error}; {_cure(directory)}") from error
    try:
        return _contents(raw)
    except _Wrong as error:
        raise JobDamaged(f"{where}: {error}; {_cure(directory)}") from error
    except JobTooNew as error:
        raise JobTooNew(f"{where}: {error}") from error


def is_part_name(name: str) -> bool:
    """Return whether a file of this name, relative to a job directory, may be a part: nothing else is ever opened."""
    found = PART_NAME.fullmatch(name)
    return found is not None and set(found["folder"] or "x") != {"."}


def check_settings(raw: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check `fingerprint` and `models` as a part of the ledger keeps them.

    ValueError where they are not such, JobTooNew where a newer release wrote them.
    """
    check_schema(_object("", raw).get("schema", 1))  # the first release did not write it
    models = _object("models", raw.get("models"))
    for name, model in models.items():
        _spec(name, model)
    return _settings(raw.get("fingerprint")), models


def check_schema(number: Any) -> None:
    """Raise JobTooNew for the layout of a newer release, ValueError for what is no number of one."""
    if type(number) is int and SCHEMA < number < MAX_NUMBER:
        raise JobTooNew(
            f"a newer release of percepts made it (layout {number}; this one knows {SCHEMA}): "
            "update percepts with pip install -U percepts. Nothing was changed"
        )
    if number != SCHEMA or type(number) is not int:
        _wrong("schema", f"{SCHEMA}", number)


def _cure(directory: str | Path) -> str:
    return f"restore it, or `percepts verify {directory} --repair` makes it again from the parts"


class _Wrong(ValueError):
    """A field is not what it should be."""


def _wrong(field: str, expected: str, got: Any) -> NoReturn:
    shown = "an object" if isinstance(got, dict) else "a list" if isinstance(got, list) else repr(got)
    raise _Wrong(f"{f'{field}: ' if field else ''}expected {expected}, got {shown[:100]}")


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


# Fields


def _contents(raw: Any) -> Contents:
    _object("", raw)
    check_schema(raw.get("schema"))
    known = {field.name for field in fields(Contents)} - {"specs"}
    if missing := known - raw.keys():
        raise _Wrong(f"{', '.join(sorted(missing))} missing")
    if unknown := raw.keys() - known:
        raise _Wrong(f"{sorted(unknown)[0][:100]!r} is unknown to this version of percepts")
    models = _object("models", raw["models"])
    specs = {name: _spec(name, model) for name, model in models.items()}
    next_part = _whole("next_part", raw["next_part"])
    return Contents(
        _settings(raw["fingerprint"]),
        models,
        specs,
        tuple(_parts(raw["parts"], specs, next_part)),
        _list("unfinished", raw["unfinished"], _text),
        _map("counts", raw["counts"], _whole),
        _map("versions", raw["versions"], _text),
        SCHEMA,
        next_part,
    )


def _settings(raw: Any) -> dict[str, Any]:
    settings = _object("fingerprint", raw)
    _check_depth("fingerprint", settings)
    _map("fingerprint.models", settings.get("models", {}), _object)
    return settings


def _parts(raw: Any, specs: Mapping[str, Spec], next_part: int) -> Iterator[Part]:
    numbers: set[int] = set()
    names: set[str] = set()
    for part in _list("parts", raw, lambda field, part: _part(field, part, specs)):
        for number in (part.number, *(_number(info.name) for info in part.files)):
            if number >= next_part:
                raise _Wrong(f"next_part: expected more than {number}, the number of a part, got {next_part}")
        if part.number in numbers:
            raise _Wrong(f"parts: two have the number {part.number}")
        numbers.add(part.number)
        for info in part.files:
            if info.name in names:
                raise _Wrong(f"parts: {info.name} is listed twice")
            names.add(info.name)
        yield part


def _part(field: str, raw: Any, specs: Mapping[str, Spec]) -> Part:
    _keys(field, raw, {"number", "data", "ledger"})
    data = _map(f"{field}.data", raw["data"], _info)
    for model, info in data.items():
        if model not in specs:
            raise _Wrong(f"{field}.data: a table of {model[:100]!r}, which models does not have")
        _check_folder(f"{field}.data.{model}.name", info.name, f"data/{safe_name(model)}")
    ledger = None if raw["ledger"] is None else _info(f"{field}.ledger", raw["ledger"])
    if ledger:
        _check_folder(f"{field}.ledger.name", ledger.name, "ledger")
    part = Part(_whole(f"{field}.number", raw["number"]), data, ledger)
    for info in part.files:  # a part that lost rows has a newer number, while files that lost none keep their names
        if _number(info.name) > part.number:
            raise _Wrong(f"{field}.number: expected at least that of {info.name}, got {part.number}")
    return part


def _info(field: str, raw: Any) -> PartInfo:
    _keys(field, raw, {each.name for each in fields(PartInfo)})
    name = _text(f"{field}.name", raw["name"])
    if not is_part_name(name):
        _wrong(f"{field}.name", "data/MODEL/part-NNNNNN.parquet or ledger/part-NNNNNN.parquet", name)
    sha256 = _text(f"{field}.sha256", raw["sha256"])
    if not _SHA256.fullmatch(sha256):
        _wrong(f"{field}.sha256", "64 hexadecimal digits", sha256)
    return PartInfo(name, _whole(f"{field}.rows", raw["rows"]), _whole(f"{field}.bytes", raw["bytes"]), sha256)


def _number(name: str) -> int:
    found = PART_NAME.fullmatch(name)
    assert found is not None, name
    return int(found["number"])


def _check_folder(field: str, name: str, folder: str) -> None:
    if name.rpartition("/")[0] != folder:
        _wrong(field, f"a file in {folder}/", name)


def _spec(name: str, raw: Any) -> Spec:
    """Check a row of `models`: a later version may have written more of it."""
    field = f"models.{name[:100]}"
    _text(field, name)
    model = _object(field, raw)
    _check_depth(field, model)
    _text(f"{field}.runtime", model.get("runtime", ""))
    _text(f"{field}.graph", model.get("graph", ""))
    row = _object(f"{field}.spec", model.get("spec"))
    spec = Spec(**{each.name: _spec_field(f"{field}.spec.{each.name}", each, row) for each in fields(Spec)})
    if spec.name != name or not name:
        _wrong(f"{field}.spec.name", repr(name), spec.name)
    if spec.kind not in KINDS:
        _wrong(f"{field}.spec.kind", f"one of {', '.join(KINDS)}", spec.kind)
    return spec


def _spec_field(field: str, each: Field[Any], row: Mapping[str, Any]) -> Any:
    if each.name not in row and each.default is not MISSING:
        return each.default
    return _CHECKS[str(each.type)](field, row.get(each.name))


# Types


def _object(field: str, raw: Any) -> dict[str, Any]:
    return raw if isinstance(raw, dict) else _wrong(field, "an object", raw)


def _keys(field: str, raw: Any, keys: set[str]) -> None:
    if _object(field, raw).keys() != keys:
        _wrong(field, f"an object of {', '.join(sorted(keys))}", ", ".join(sorted(raw)))


def _text(field: str, raw: Any) -> str:
    if not isinstance(raw, str) or not _is_unicode(raw):
        _wrong(field, "a text", raw)
    return raw


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode("utf-8"))
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _whole(field: str, raw: Any) -> int:
    if type(raw) is not int or not 0 <= raw < MAX_NUMBER:
        _wrong(field, "a whole number of 0 or more", raw)
    return raw


def _number_of(field: str, raw: Any) -> float:
    if type(raw) not in (int, float) or not 0 <= raw < MAX_NUMBER or not math.isfinite(raw):
        _wrong(field, "a number of 0 or more", raw)
    return float(raw)


def _list(field: str, raw: Any, check: Callable[[str, Any], _T]) -> list[_T]:
    if not isinstance(raw, list):
        _wrong(field, "a list", raw)
    return [check(f"{field}[{number}]", each) for number, each in enumerate(raw)]


def _map(field: str, raw: Any, check: Callable[[str, Any], _T]) -> dict[str, _T]:
    return {_text(field, key): check(f"{field}.{key[:100]}", each) for key, each in _object(field, raw).items()}


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "str": _text,
    "Kind": _text,
    "int": _whole,
    "float": _number_of,
    "tuple[str, ...]": lambda field, raw: tuple(_list(field, raw, _text)),
}
"""Types of the fields of `Spec`, as they are written."""


def _check_depth(field: str, raw: Any) -> None:
    """Refuse what is nested too deep to be copied and written again, and text that is not Unicode."""
    level = [raw]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                for key, value in each.items():
                    _text(field, key)
                    inner.append(value)
            elif isinstance(each, list):
                inner += each
            elif isinstance(each, str):
                _text(field, each)
        if not inner:
            return
        level = inner
    raise _Wrong(f"{field}: more than {MAX_DEPTH} objects and lists within each other")
