"""Write segments as subtitle files and read them back: txt, srt, vtt, tsv, json and rttm."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..support.formats import FORMATS as FORMATS
from ..support.formats import READABLE_FORMATS
from ..support.formats import Format as Format
from ..support.text import parse_json
from ..types import Segment
from .segments import SubtitleLayout, from_row, sort_segments, split_cues, to_row, words_if_matching

ANY = SubtitleLayout()


def write_segments(
    segments: Iterable[Segment], format: Format, *, lines: SubtitleLayout = ANY, source: str = ""
) -> str:
    """Return the text of a file with the segments of one source.

    txt   the text, one line per segment, with `[speaker]: ` in front where the speaker is known
    srt   SubRip; the speaker as in txt
    vtt   WebVTT; the speaker as a voice tag
    tsv   start and stop in whole milliseconds, text; and the speaker where one is known
    json  {"source": …, "segments": […]}, every field of every segment and word, exactly
    rttm  who spoke when, without text: the format of diarization. Segments without a speaker are left out

    Times are rounded to milliseconds except in JSON. In the text of the others every run of white space is one space,
    as an empty line would end a subtitle. A segment without text but with a speaker is written as the speaker's name.

    Args:
        segments: in any order.
        format: one of FORMATS (`support.formats` says what each can hold).
        lines: how much fits on the screen, and whether the word being said is underlined; for srt and vtt.
        source: the name of the source, which json and rttm hold.

    Raises:
        ValueError: an unknown format, or a segment that stops before it starts.

    >>> print(write_segments([Segment(1.5, 2.25, "Hello there.", speaker="Ann")], "srt"), end="")
    1
    00:00:01,500 --> 00:00:02,250
    [Ann]: Hello there.
    """
    return _find_format(format).write(sort_segments(segments), lines, source)


def read_segments(text: str, format: Format) -> list[Segment]:
    """Read the segments from the text of a file, written by `write_segments` or by another tool.

    Line breaks inside a subtitle become spaces; formatting is dropped. `[name]: ` at the beginning of an srt subtitle
    is its speaker, as is a voice tag in vtt. txt has no times, so it cannot be read.

    Raises:
        ValueError: an unknown format, or a line that is not of that format; the message says which. An rttm with
            several files: use `read_rttm`.
    """
    reader = _find_format(format).read
    if reader is None:
        raise ValueError(f"{format} has no times, so it cannot be read: expected one of {', '.join(READABLE_FORMATS)}")
    # Windows editors begin UTF-8 files with a byte order mark.
    return sort_segments(reader(text.removeprefix("\ufeff")))


def read_rttm(text: str) -> dict[str, list[Segment]]:
    """Read the turns of each file named in an RTTM text, by that name.

    >>> read_rttm("SPEAKER talk 1 0.500 1.250 <NA> <NA> Ann <NA> <NA>")["talk"][0].stop
    1.75
    """
    turns: dict[str, list[Segment]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue  # comments and other types of line
        try:
            # columns of RTTM: type, file, channel, start, length, text, subtype, speaker
            start, length, speaker = _to_milliseconds(fields[3]), _to_milliseconds(fields[4]), fields[7]
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"line {number}: expected SPEAKER name 1 start length <NA> <NA> who, got {line!r}"
            ) from error
        turn = Segment(start / 1000, (start + length) / 1000, "", speaker=speaker)
        turns.setdefault(fields[1], []).append(turn)
    return turns


@dataclass(frozen=True, slots=True)
class _FormatRow:
    """The functions that write and read a format; `read` is None where it cannot be read."""

    write: Callable[[Sequence[Segment], SubtitleLayout, str], str]
    read: Callable[[str], Iterable[Segment]] | None


def _find_format(format: str) -> _FormatRow:
    """Return the row of a format; ValueError for an unknown one."""
    if format not in _ROWS:
        raise ValueError(f"expected one of {', '.join(FORMATS)}, got {format!r}")
    return _ROWS[format]


# Text


def _flatten(text: str) -> str:
    """Replace every run of white space by one space."""
    return " ".join(text.split())


def _format_with_speaker(segment: Segment) -> str:
    """Return `[Ann]: text`; the name alone where there is no text, the text alone where there is no speaker."""
    if segment.speaker is None:
        return segment.text
    return f"[{_flatten(segment.speaker)}]: {segment.text}".rstrip()


_NAMED = re.compile(r"\[([^\[\]]+)\]:(?:\s+|$)")


def _split_speaker(text: str) -> tuple[str | None, str]:
    """Split `[Ann]: text` into speaker and text."""
    match = _NAMED.match(text)
    return (match[1], text[match.end() :]) if match else (None, text)


def _write_txt(segments: Sequence[Segment], lines: SubtitleLayout, source: str) -> str:
    """Write one line of text per segment."""
    return "".join(f"{_flatten(_format_with_speaker(segment))}\n" for segment in segments)


# Times


def _format_time(seconds: float, point: str) -> str:
    """Format seconds as hh:mm:ss and milliseconds after `point`; hours take as many digits as they need."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{thousandths:03}"


# SubRip has a comma, WebVTT a point; hours may be missing. Other tools mix them up, so either is read.
_STAMP = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_RANGE = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}")


def _parse_time(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    """Return the seconds of a time whose parts are texts; hours may be missing, as in WebVTT."""
    whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    # Digits after the point may be fewer than three: .5 is 500 milliseconds.
    return (whole * 1000 + int(fraction.ljust(3, "0"))) / 1000


def _to_milliseconds(seconds: str) -> int:
    """Round seconds, given as text, to milliseconds."""
    return round(float(seconds) * 1000)


# SubRip and WebVTT: blocks with a line of times


def _write_srt(segments: Sequence[Segment], lines: SubtitleLayout, source: str) -> str:
    """Write SubRip: numbered cues."""
    spoken = (
        shown
        for cue in split_cues(map(_prefix_speaker, segments), lines)
        for shown in _format_cue_texts(cue, lines, str)
    )
    return "\n".join(f"{number}\n{_format_cue(cue, ',')}\n" for number, cue in enumerate(spoken, 1))


def _prefix_speaker(segment: Segment) -> Segment:
    """Put the speaker's name in front of the text and, with no length, in front of the words."""
    if segment.speaker is None:
        return segment
    name = _format_with_speaker(replace(segment, text="")).split()
    words = tuple(Segment(segment.start, segment.start, part) for part in name) + segment.words
    return replace(segment, text=_format_with_speaker(segment), words=words)


def _format_cue_texts(cue: Segment, lines: SubtitleLayout, escape: Callable[[str], str]) -> Iterator[Segment]:
    """Yield the cue as it is shown: once, or with `highlight` once per underlined word and once for each pause."""
    at = cue.start
    for number, word in enumerate(words_if_matching(cue) if lines.highlight else ()):
        # Words of engines overlap at times; cues must not.
        start, stop = max(word.start, at), min(word.stop, cue.stop)
        if round(stop * 1000) <= round(start * 1000):
            continue  # a word of no length, such as the speaker's name
        if round(start * 1000) > round(at * 1000):
            yield replace(cue, start=at, stop=start, text=escape(cue.text))
        yield replace(cue, start=start, stop=stop, text=_underline_word(cue.text, number, escape))
        at = stop
    if at == cue.start or round(cue.stop * 1000) > round(at * 1000):
        yield replace(cue, start=at, text=escape(cue.text))


def _underline_word(text: str, number: int, escape: Callable[[str], str]) -> str:
    """Put tags around the word of that number; line breaks stay where they are."""
    word = list(re.finditer(r"\S+", text))[number]
    return f"{escape(text[: word.start()])}<u>{escape(word[0])}</u>{escape(text[word.end() :])}"


def _format_cue(cue: Segment, point: str, before: str = "") -> str:
    """Return the line of times and the text of a cue."""
    return f"{_format_time(cue.start, point)} --> {_format_time(cue.stop, point)}\n{before}{cue.text}"


def _write_vtt(segments: Sequence[Segment], lines: SubtitleLayout, source: str) -> str:
    """Write WebVTT, with voice tags."""
    blocks = ["WEBVTT\n"]
    for cue in split_cues(segments, lines):
        name = "" if cue.speaker is None else f"<v {_escape_vtt(_flatten(cue.speaker))}>"
        blocks += [f"{_format_cue(shown, '.', name)}\n" for shown in _format_cue_texts(cue, lines, _escape_vtt)]
    return "\n".join(blocks)


def _escape_vtt(text: str) -> str:
    """Escape &, < and >; quotes need none in WebVTT."""
    return html.escape(text, quote=False)


def _split_blocks(text: str, format: str) -> Iterator[tuple[float, float, str]]:
    """Yield start, stop and text of each block that has times; other blocks are headers, notes and styles."""
    for block in re.split(r"\n[^\S\n]*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        rows = block.strip("\n").split("\n")
        at = next((i for i, row in enumerate(rows) if "-->" in row), None)  # the line above is optional in WebVTT
        if at is None:
            continue
        match = _RANGE.match(rows[at])
        if match is None:
            raise ValueError(
                f"expected times of {format} as in {_format_time(62.5, '.')} --> {_format_time(64, '.')}, "
                f"got {rows[at]!r}"
            )
        times = match.groups()
        yield _parse_time(*times[:4]), _parse_time(*times[4:]), _flatten(" ".join(rows[at + 1 :]))


_TAG = re.compile(r"<[^<>]*>")


def _read_srt(text: str) -> Iterator[Segment]:
    """Read SubRip; formatting tags are dropped."""
    for start, stop, content in _split_blocks(text, "srt"):
        # SubRip has only these tags; other angle brackets belong to the text
        speaker, line = _split_speaker(re.sub(r"</?(?:b|i|u|font)\b[^<>]*>", "", content))
        yield Segment(start, stop, line, speaker=speaker)


_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>]+)>")


def _read_vtt(text: str) -> Iterator[Segment]:
    """Read WebVTT; the voice tag becomes the speaker, other tags are dropped."""
    for start, stop, content in _split_blocks(text, "vtt"):
        voice = _VOICE.match(content)
        speaker = html.unescape(voice[1]).strip() if voice else None
        yield Segment(start, stop, _flatten(html.unescape(_TAG.sub("", content))), speaker=speaker)


# Tables


def _write_tsv(segments: Sequence[Segment], lines: SubtitleLayout, source: str) -> str:
    """Write tab-separated values, with a column of speakers if there are any."""
    named = any(segment.speaker is not None for segment in segments)
    rows = ["start\tstop\ttext" + "\tspeaker" * named]
    for s in segments:
        row = f"{round(s.start * 1000)}\t{round(s.stop * 1000)}\t{_flatten(s.text)}"
        rows.append(f"{row}\t{_flatten(s.speaker or '')}" if named else row)
    return "\n".join(rows) + "\n"


def _read_tsv(text: str) -> Iterator[Segment]:
    """Read tab-separated values; openai/whisper calls the second column end, ours is stop."""
    # not splitlines, which also breaks texts at form feeds and U+2028
    head, *rows = text.rstrip("\r\n").split("\n")
    names = head.rstrip("\r").split("\t")
    if names[0] != "start" or names[1:2] not in (["stop"], ["end"]) or "text" not in names:
        raise ValueError(f"expected a first line of start, stop and text, got {head!r}")
    for number, row in enumerate(rows, 2):
        cells = row.rstrip("\r").split("\t")
        if len(cells) != len(names):
            raise ValueError(f"line {number}: expected {len(names)} cells between tabs, got {row!r}")
        by_name = dict(zip(names, cells, strict=True))
        start, stop = (int(cell) / 1000 for cell in cells[:2])
        yield Segment(start, stop, by_name["text"], speaker=by_name.get("speaker") or None)


def _write_json(segments: Sequence[Segment], lines: SubtitleLayout, source: str) -> str:
    """Write JSON with every field."""
    return json.dumps({"source": source, "segments": [to_row(s) for s in segments]}, indent=1) + "\n"


def _read_json(text: str) -> Iterator[Segment]:
    """Read JSON: an object with segments, as percepts and openai/whisper write it, or a list of them."""
    data: Any = parse_json(text)
    rows = data.get("segments") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise ValueError(f"expected an object with segments, or a list of them, got {str(data)[:60]!r}")
    return map(from_row, rows)


# RTTM


def _write_rttm(segments: Sequence[Segment], lines: SubtitleLayout, source: str) -> str:
    """Write one line per turn. Both ends are rounded, not the length, so that turns that meet still meet."""
    rows = []
    for s in segments:
        if s.speaker is not None:
            start, stop = round(s.start * 1000), round(s.stop * 1000)
            times = f"{start / 1000:.3f} {(stop - start) / 1000:.3f}"
            rows.append(f"SPEAKER {_join_name(source)} 1 {times} <NA> <NA> {_join_name(s.speaker)} <NA> <NA>\n")
    return "".join(rows)


def _join_name(text: str) -> str:
    """Make a name one word, since RTTM separates its columns by spaces."""
    return re.sub(r"\s+", "_", text.strip()) or "<NA>"


def _read_rttm(text: str) -> list[Segment]:
    """Read the turns of a single file from RTTM."""
    by_name = read_rttm(text)
    if len(by_name) > 1:
        raise ValueError(f"expected the turns of one file, got those of {', '.join(by_name)}: use read_rttm")
    return next(iter(by_name.values()), [])


_ROWS: dict[Format, _FormatRow] = {
    "txt": _FormatRow(_write_txt, None),
    "srt": _FormatRow(_write_srt, _read_srt),
    "vtt": _FormatRow(_write_vtt, _read_vtt),
    "tsv": _FormatRow(_write_tsv, _read_tsv),
    "json": _FormatRow(_write_json, _read_json),
    "rttm": _FormatRow(_write_rttm, _read_rttm),
}
