"""Write the rows of the committed tables in other formats beside them, and keep the files that are up to date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.compute as pc

from ...stores import jsonl, npz
from ...stores.parquet import batch_records, committed_files, read_part, read_parts, read_specs
from ...support.files import plain_name, safe_name, short_digest
from ...timeline import subtitles
from ...timeline.segments import SubtitleLayout, segment_from_record
from ...types import Record, Spec
from .exports import EXPORTS
from .format_files import FormatFiles
from .ledger import Manifest, ledger_entries


def write_formats(
    files: FormatFiles, directory: Path, formats: Iterable[str], lines: SubtitleLayout | None = None
) -> None:
    """Bring each format up to date with the manifest; with `lines`, write all subtitles again in that layout."""
    for name in formats:
        # Drafts of a run that was killed while it wrote this format.
        files.sweep(name)
        if lines is not None and name in subtitles.FORMATS:
            _write_transcripts(name, files, directory, lines)
        else:
            _WRITERS[name](files, directory)
    files.finish()


def check_formats(formats: Iterable[str], specs: Iterable[Spec]) -> tuple[str, ...]:
    """Return the formats as a tuple; raise ValueError for an unknown one, or one that such tables cannot fill."""
    names = tuple(dict.fromkeys(formats))
    if unknown := set(names) - _WRITERS.keys():
        raise ValueError(f"expected formats among {', '.join(_WRITERS)}, got {', '.join(sorted(unknown))}")
    tables = list(specs)
    if (held := {"npz", *EXPORTS} & set(names)) and not any(spec.dim for spec in tables):
        raise ValueError(f"expected no {', '.join(sorted(held))}: these hold vectors, and this job makes none")
    if (said := TEXT_FORMATS & set(names)) and all(spec.dim for spec in tables):
        raise ValueError(
            f"expected no {', '.join(sorted(said))}: these hold labels or text, and this job makes vectors"
        )
    return names


def remove_formats(files: FormatFiles, sources: Iterable[str], models: Collection[str]) -> None:
    """Remove the files of sources whose rows are about to change, except jsonl, which follows the table parts."""
    for source in sources:
        for model in models:
            files.remove(f"npz/{npz.npz_name(source, model)}")
        for format in TEXT_FORMATS:
            # Both names that the source may have had: another source of the same stem may have come or gone since.
            for name in (_file_stem(source), _distinct_stem(source)):
                for folder in (format, *(f"{format}/{safe_name(model)}" for model in models)):
                    files.remove(f"{folder}/{name}.{format}")


def _write_jsonl(files: FormatFiles, directory: Path) -> None:
    """Write jsonl/MODEL/part-N.jsonl for every data/MODEL/part-N.parquet, and remove all others."""
    wanted = {}
    for model, parts in committed_files(directory).items():
        for part in parts:
            name = part.relative_to(directory / "data").with_suffix(".jsonl").as_posix()
            wanted[f"jsonl/{name}"] = model, part
    for name in set(files.names("jsonl")) - wanted.keys():
        files.remove(name)
    for name, (model, part) in wanted.items():
        if not files.is_made(name):
            with files.write(name) as file:
                file.writelines(
                    jsonl.format_record(record) for batch in read_part(part) for record in batch_records(batch, model)
                )


def _write_npz(files: FormatFiles, directory: Path) -> None:
    """Write npz/NAME.MODEL.npz for every source with rows in the tables."""
    store = npz.NpzStore(directory / "npz", write=lambda path: files.write(f"npz/{path.name}"))
    for model in committed_files(directory):
        counts = _count_rows(directory, model)
        missing = {
            source: count for source, count in counts.items() if not files.is_made(f"npz/{npz.npz_name(source, model)}")
        }
        for record, last in _read_source_rows(directory, model, missing):
            store.write([record])
            if last:
                store.finish(record.source)


def _write_transcripts(
    format: subtitles.Format, files: FormatFiles, directory: Path, lines: SubtitleLayout | None = None
) -> None:
    """Write FORMAT/NAME.FORMAT for every source of a table of labels or text, and remove all others.

    Several tables have a folder each. With one table, a source that is finished and has no rows gets an empty file:
    nobody spoke.
    """
    tables = list(read_specs(directory))
    through = _completed_sources(directory) if len(tables) == 1 else ()
    for model in tables:
        folder = format if len(tables) == 1 else f"{format}/{safe_name(model)}"
        counts = _count_rows(directory, model)
        counts.update(dict.fromkeys(through, 0))  # adds 0, so sources with rows keep their number
        paths = {source: f"{folder}/{name}.{format}" for source, name in _name_files(counts).items()}
        listed = {name for name in files.names(folder) if name.rpartition("/")[0] == folder}
        for name in listed - set(paths.values()):
            files.remove(name)
        said: dict[str, list[Record]] = {}
        wanted = {source: counts[source] for source, name in paths.items() if lines or not files.is_made(name)}
        write = partial(_write_transcript, files, format, lines or subtitles.ANY)
        for source in (source for source, count in wanted.items() if not count):
            write(paths[source], source, [])
        for record, last in _read_source_rows(directory, model, wanted):
            source = record.source
            said.setdefault(source, []).append(record)
            if last:
                write(paths[source], source, said.pop(source))


def _completed_sources(directory: Path) -> list[str]:
    """Return the sources that finished without an error and were not skipped."""
    rows = ledger_entries(directory, Manifest.read(directory), columns=["uri", "status"])
    return [row["uri"] for row in rows if row["status"] == "ok"]


def _write_transcript(
    files: FormatFiles, format: subtitles.Format, lines: SubtitleLayout, name: str, source: str, said: Sequence[Record]
) -> None:
    # JSON keeps the whole source for programs; in subtitles people read the title.
    title = source if format == "json" else PurePath(source).stem
    with files.write(name) as file:
        file.write(subtitles.write_segments(map(segment_from_record, said), format, lines=lines, source=title).encode())


def _name_files(sources: Iterable[str]) -> dict[str, str]:
    """Return the file stem of each source; those that share one get a digest of their whole name added."""
    stems = {source: _file_stem(source) for source in sources}
    shared = Counter(stem.lower() for stem in stems.values())  # some file systems ignore case
    return {source: stem if shared[stem.lower()] == 1 else _distinct_stem(source) for source, stem in stems.items()}


def _file_stem(source: str) -> str:
    return plain_name(PurePath(source.replace("\\", "/")).stem)[:80] or "source"


def _distinct_stem(source: str) -> str:
    return f"{_file_stem(source)}-{short_digest(source)}"


def _count_rows(directory: Path, model: str) -> Counter[str]:
    """Count the rows of each source."""
    rows: Counter[str] = Counter()
    for batch in read_parts(directory, model, ["source"]):
        rows.update(batch.column("source").to_pylist())
    return rows


def _read_source_rows(directory: Path, model: str, wanted: Mapping[str, int]) -> Iterator[tuple[Record, bool]]:
    """Yield the rows of the sources in `wanted`, in order, each with whether it is the last of its source.

    `wanted` holds the number of rows of each source, so that reading stops after the last of them.
    """
    left = {source: count for source, count in wanted.items() if count}
    for batch in read_parts(directory, model) if left else ():
        batch = batch.filter(pc.is_in(batch.column("source"), value_set=pa.array(list(left), pa.string())))
        for record in batch_records(batch, model):
            left[record.source] -= 1
            yield record, not left[record.source]
            if not left[record.source]:
                del left[record.source]
        if not left:
            break


def _write_nothing(files: FormatFiles, directory: Path) -> None:
    """Write nothing, since the tables are parquet already."""


_WRITERS: Mapping[str, Callable[[FormatFiles, Path], None]] = {
    "parquet": _write_nothing,
    "npz": _write_npz,
    "jsonl": _write_jsonl,
    **{format: partial(_write_transcripts, format) for format in subtitles.FORMATS},
    **EXPORTS,
}
TEXT_FORMATS = frozenset(subtitles.FORMATS)
FOLDERS = tuple(name for name in _WRITERS if name != "parquet")
"""Folders that a job directory may hold beside the tables; each can be made again from them."""
