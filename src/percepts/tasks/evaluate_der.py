"""Evaluate diarization: compare files of who spoke when with a reference."""

from __future__ import annotations

from pathlib import Path

from ..metrics.der import DiarizationErrors, diarization_errors
from ..support.formats import READABLE_FORMATS, list_suffixes
from ..support.text import read_text
from ..timeline.subtitles import read_rttm, read_segments
from ..types import Segment

Turns = dict[str, list[Segment]]
"""By recording."""


def evaluate_der(
    reference: str | Path, hypothesis: str | Path, *, collar: float = 0.0, skip_overlap: bool = False
) -> dict[str, DiarizationErrors]:
    """Return the diarization errors of each recording in two files, by its name in the reference.

    An RTTM may hold several recordings, which are matched by name; one on each side match whatever they are called.
    Subtitle files and JSON count as one recording each, named like the file. A recording that only one side has is all
    missed, or all false alarm.

    Args:
        reference: who spoke when; rttm, json, srt, vtt or tsv, by the end of its name.
        hypothesis: the same, as a diarizer found it.
        collar: seconds on each side of every boundary in the reference that are not judged.
        skip_overlap: leave out where several speak in the reference.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not one of these formats, or damaged; the message says where.
    """
    truth, found = read_turns(reference), read_turns(hypothesis)
    if len(truth) == len(found) == 1:
        found = dict.fromkeys(truth, next(iter(found.values())))
    return {
        name: diarization_errors(truth.get(name, []), found.get(name, []), collar=collar, skip_overlap=skip_overlap)
        # The reference's order first, which a set would lose.
        for name in dict.fromkeys([*truth, *found])
    }


def read_turns(path: str | Path) -> Turns:
    """Return the turns in a file by recording; see `evaluate_der`."""
    path = Path(path)
    format = next((name for name in READABLE_FORMATS if path.suffix.lower() == f".{name}"), None)
    if format is None:
        raise ValueError(f"{path}: expected a file of turns that ends in {list_suffixes(READABLE_FORMATS)}")
    try:
        text = read_text(path)
        return read_rttm(text) if format == "rttm" else {path.stem: read_segments(text, format)}
    except ValueError as error:  # bytes that are not UTF-8 raise one, too
        raise ValueError(f"{path}: {error}") from error
