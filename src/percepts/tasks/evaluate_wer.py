"""Evaluate transcripts and streams: count word errors, and measure how late words were committed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..metrics.wer import WordErrors, count_word_errors, normalise_text
from ..speech.streaming.events import Event, LatencyStats, measure_latency
from ..support.formats import WORD_FORMATS, list_suffixes
from ..support.text import parse_json
from ..support.text import read_text as read_file
from ..timeline.segments import from_row
from ..types import Segment
from .evaluate_der import read_turns

TRANSCRIPT_FORMATS = list_suffixes(WORD_FORMATS)


def evaluate_wer(reference: str | Path, hypothesis: str | Path, *, exact: bool = False) -> WordErrors:
    """Return the word errors between two transcripts.

    Args:
        reference: what was said: plain text, a transcript (.json, .srt, .vtt, .tsv), or the committed words of a
            stream (.jsonl).
        hypothesis: the same, as a model wrote it.
        exact: compare words as they are spelled, with case and punctuation; else see
        `percepts.metrics.wer.normalise_text`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not one of these formats, or damaged; the message says where.
        MissingExtra: jiwer is not installed.
    """
    said, written = (read_text(path) for path in (reference, hypothesis))
    if not exact:
        said, written = normalise_text(said), normalise_text(written)
    return count_word_errors(said.split(), written.split())


def evaluate_latency(events: str | Path, reference: str | Path | None = None) -> LatencyStats:
    """Return how late the words of a stream were committed; `percepts stream --json` or `replay` wrote its events.

    Args:
        events: a JSON object a line: {"time": …, "received": …, "type": "committed" or "partial", "words": [{"start":
            …, "stop": …, "text": …}, …]}; `received` is the seconds of audio that had come by then.
        reference: a transcript with words, as `percepts align -f json` writes it: lateness is then counted from when a
            word really ended, over the words that were written down right. None: from when the model heard it end.

    Raises as `wer_of_files`.
    """
    found = read_events(events)
    if reference is None:
        return measure_latency(found)
    return measure_latency(list(_time_words(found, _read_words(reference))))


def read_text(path: str | Path) -> str:
    """Return everything that is said in a file, as one text."""
    path = Path(path)
    if path.suffix.lower() == ".txt":
        try:
            return read_file(path)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: expected text in UTF-8: {error}") from error
    if path.suffix.lower() == ".jsonl":
        committed = (event for event in read_events(path) if event.type == "committed")
        return " ".join(word.text.strip() for event in committed for word in event.words)
    if path.suffix.lower() == ".rttm":
        raise ValueError(f"{path}: an RTTM holds no words: expected {TRANSCRIPT_FORMATS}")
    if path.suffix.lower() not in {f".{name}" for name in WORD_FORMATS}:
        raise ValueError(f"{path}: expected a transcript that ends in {TRANSCRIPT_FORMATS}")
    return " ".join(segment.text for segments in read_turns(path).values() for segment in segments)


def read_events(path: str | Path) -> list[Event]:
    """Return the events of a stream, one for each line."""
    path, found = Path(path), []
    for number, line in enumerate(read_file(path).splitlines(), 1):
        if line.strip():
            try:
                found.append(_parse_event(parse_json(line)))
            # TypeError: JSON, but not an object.
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    # 60 characters are enough to find it; a line may hold a long transcript.
                    f"{path}, line {number}: expected an object with time, type and words, got {line[:60]!r}: {error}"
                ) from error
    return found


def _parse_event(row: dict[str, Any]) -> Event:
    kind = row["type"]
    if kind not in ("committed", "partial"):
        raise ValueError(f"expected type to be committed or partial, got {kind!r}")
    time = float(row["time"])
    return Event(kind, tuple(map(from_row, row["words"])), time, float(row.get("received", time)))


def _read_words(path: str | Path) -> list[Segment]:
    segments = [segment for found in read_turns(path).values() for segment in found]
    words = [word for segment in segments for word in segment.words]
    if segments and not words:
        raise ValueError(f"{path}: expected a transcript with words, such as `percepts align -f json` writes")
    return words


def _time_words(events: Sequence[Event], truth: Sequence[Segment]) -> Iterator[Event]:
    """Yield the events with the true times of their committed words, without the words that were not said."""
    # Normalising may split a word in two or leave nothing of it, so each part keeps its word.
    said = [(word, part) for word in truth for part in normalise_text(word.text).split()]
    heard = [
        ((e, w), part)
        for e, event in enumerate(events)
        if event.type == "committed"
        for w, word in enumerate(event.words)
        for part in normalise_text(word.text).split()
    ]
    errors = count_word_errors([part for _, part in said], [part for _, part in heard])
    true = {heard[j][0]: said[i][0] for i, j in errors.pairs}
    for e, event in enumerate(events):
        if event.type == "committed":
            words = tuple(true[e, w] for w in range(len(event.words)) if (e, w) in true)
            yield Event(event.type, words, event.time, event.received)
        else:
            yield event
