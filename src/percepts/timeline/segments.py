"""Sort and shift segments, convert them to JSON objects, and cut them into subtitle cues that fit on the screen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..types import Record, Segment


def sort_segments(segments: Iterable[Segment]) -> list[Segment]:
    """Sort segments by start, then by stop.

    Raises ValueError for a segment that stops before it starts, or whose times are not finite.
    """
    ordered = sorted(segments, key=lambda segment: (segment.start, segment.stop))
    for segment in ordered:
        if not 0 <= segment.start <= segment.stop < float("inf"):
            raise ValueError(f"expected 0 <= start <= stop, got {segment}")
    return ordered


def segment_from_record(record: Record) -> Segment:
    """Build a segment from a record; its labels become the text where it has none."""
    text = ", ".join(record.labels) if record.text is None else record.text
    return Segment(record.start, record.stop, text, record.words, record.speaker, record.score)


def shift_segments(segments: Iterable[Segment], seconds: float) -> Iterator[Segment]:
    """Yield the segments moved by so many seconds, words included."""
    for segment in segments:
        # Words are segments as well.
        words = tuple(shift_segments(segment.words, seconds))
        yield replace(segment, start=segment.start + seconds, stop=segment.stop + seconds, words=words)


def to_row(segment: Segment) -> dict[str, Any]:
    """Convert a segment to a JSON object with every field, which `from_row` reads back exactly."""
    row: dict[str, Any] = {"start": segment.start, "stop": segment.stop, "text": segment.text}
    row |= {"speaker": segment.speaker, "score": segment.score, "kind": segment.kind}
    return row | {"words": [to_row(word) for word in segment.words]} if segment.words else row


def from_row(row: Mapping[str, Any]) -> Segment:
    """Read a segment from a JSON object; ValueError where it is none."""
    try:
        return Segment(
            float(row["start"]),
            float(row["stop"]),
            str(row.get("text", "")),
            tuple(from_row(word) for word in row.get("words", ())),
            None if row.get("speaker") is None else str(row["speaker"]),
            None if row.get("score") is None else float(row["score"]),
            str(row.get("kind", "speech")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"expected an object with start and stop in seconds, got {row!r}") from error


@dataclass(frozen=True, slots=True)
class SubtitleLayout:
    """How text is laid out on the screen.

    width      characters per line, None for any; a longer word has a line to itself
    count      lines at once, None for any
    highlight  underline the word that is being said, where words are known
    """

    width: int | None = None
    count: int | None = None
    highlight: bool = False

    def __post_init__(self) -> None:
        if (self.width is not None and self.width < 1) or (self.count is not None and self.count < 1):
            raise ValueError(f"expected a width and a count of lines of 1 or more, got {self}")

    def wrap(self, text: str) -> list[str]:
        """Break a text into lines; words are not broken, and spaces become single."""
        if self.width is None:
            return [" ".join(text.split())]
        # `or`: textwrap makes no line of an empty text
        return textwrap.wrap(text, self.width, break_long_words=False, break_on_hyphens=False) or [""]


def split_cues(segments: Iterable[Segment], lines: SubtitleLayout) -> Iterator[Segment]:
    """Split each segment into as many cues as it takes for each to fit, with newlines between lines.

    A cue begins at the start of its first word, where the words are known and spell the text. Elsewhere the time is
    divided by characters, which is an estimate.
    """
    for segment in segments:
        wrapped = lines.wrap(segment.text)
        step = lines.count or len(wrapped)
        pages = [wrapped[i : i + step] for i in range(0, len(wrapped), step)]
        if len(pages) == 1:
            yield replace(segment, text="\n".join(pages[0]))
        else:
            yield from _split_pages(segment, pages)


def _split_pages(segment: Segment, pages: Sequence[Sequence[str]]) -> Iterator[Segment]:
    """Yield one cue per page of lines."""
    counts = [sum(len(line.split()) for line in page) for page in pages]
    known_words = words_if_matching(segment)
    known = bool(known_words)
    at, begun = 0, segment.start
    for number, (page, count) in enumerate(zip(pages, counts, strict=True)):
        words = tuple(known_words[at : at + count]) if known else ()
        at += count
        if number == len(pages) - 1:
            stop = segment.stop
        elif known:
            # Words of engines may overlap or leave the segment; cues must not.
            stop = min(max(known_words[at].start, begun), segment.stop)
        else:
            stop = segment.start + (segment.stop - segment.start) * _character_share(pages, number)
        yield replace(segment, start=begun, stop=stop, text="\n".join(page), words=words)
        begun = stop


def words_if_matching(segment: Segment) -> list[Segment]:
    """Return one word for each word of the text; no words where they are unknown or spell something else."""
    words = [word for word in segment.words if word.text.strip()]
    return words if [word.text.strip() for word in words] == segment.text.split() else []


def _character_share(pages: Sequence[Sequence[str]], number: int) -> float:
    """Return the fraction of all characters that the pages up to this one hold."""
    sizes = [sum(len(line) for line in page) for page in pages]
    return sum(sizes[: number + 1]) / sum(sizes)
