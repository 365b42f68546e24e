"""The committed tables in, the same rows in other formats beside them: what is there already is left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ..stores import jsonl, npz
from ..stores.parquet import committed, read_part, read_parts, records


def mirror(directory: Path, formats: Iterable[str]) -> None:
    """Bring every asked format up to what the manifest lists; ValueError for a format that there is not."""
    for name in check_formats(formats):
        _MIRRORS[name](directory)


def check_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """The formats as a tuple, or ValueError naming those there are."""
    names = tuple(formats)
    if unknown := set(names) - _MIRRORS.keys():
        raise ValueError(f"expected formats among {', '.join(_MIRRORS)}, got {', '.join(sorted(unknown))}")
    return names


def forget(directory: Path, sources: Iterable[str], models: Iterable[str]) -> None:
    """Remove the npz of sources whose rows are about to change; jsonl parts go with their table parts."""
    for source in sources:
        for model in models:
            (directory / "npz" / npz.name(source, model)).unlink(missing_ok=True)


def _jsonl(directory: Path) -> None:
    """jsonl/MODEL/part-N.jsonl for every data/MODEL/part-N.parquet, and no others."""
    wanted = {}
    for model, parts in committed(directory).items():
        for part in parts:
            wanted[directory / "jsonl" / part.relative_to(directory / "data").with_suffix(".jsonl")] = model, part
    for path in set((directory / "jsonl").rglob("*.jsonl")) - wanted.keys():
        path.unlink()
    for path, (model, part) in wanted.items():
        if not path.exists():
            jsonl.write_part(path, (record for batch in read_part(part) for record in records(batch, model)))


def _npz(directory: Path) -> None:
    """npz/NAME.MODEL.npz for every source with rows in the tables."""
    store = npz.NpzStore(directory / "npz")
    for model in committed(directory):
        missing = _missing_npz(directory, model)
        for batch in read_parts(directory, model) if missing else ():
            batch = batch.filter(pc.is_in(batch.column("source"), value_set=_strings(missing)))
            for record in records(batch, model):
                store.write([record])
                missing[record.source] -= 1
                if not missing[record.source]:
                    store.finish(record.source)
                    del missing[record.source]
            if not missing:
                break


def _missing_npz(directory: Path, model: str) -> Counter[str]:
    """Rows a source, of those that have no file yet."""
    rows: Counter[str] = Counter()
    for batch in read_parts(directory, model, ["source"]):
        rows.update(batch.column("source").to_pylist())
    there = {path.name for path in (directory / "npz").glob("*.npz")}
    return Counter({source: count for source, count in rows.items() if npz.name(source, model) not in there})


def _strings(names: Iterable[str]) -> object:
    return pa.array(list(names), pa.string())


def _nothing(directory: Path) -> None:
    """The tables are parquet already."""


_MIRRORS: Mapping[str, Callable[[Path], None]] = {"parquet": _nothing, "npz": _npz, "jsonl": _jsonl}
