"""Segments to subtitle files and back: txt, srt, vtt, tsv, json and rttm."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from ..support.text import parse_json
from ..types import Segment
from .segments import SubtitleLayout, from_row, sort_segments, split_cues, to_row, words_if_matching

Format = Literal["txt", "srt", "vtt", "tsv", "json", "rttm"]
FORMATS: tuple[Format, ...] = get_args(Format)
ANY = SubtitleLayout()


def write_segments(
    segments: Iterable[Segment], format: Format, *, lines: SubtitleLayout = ANY, source: str = ""
) -> str:
    """Segments of one medium to the text of a file.

    txt   what is said, a line a segment, `[speaker]: ` in front where it is known
    srt   SubRip; the speaker as in txt
    vtt   WebVTT; the speaker as a voice tag
    tsv   start and stop in whole milliseconds, text; and the speaker where one is known
    json  {"source": …, "segments": […]}, every field of every segment and word, exactly
    rttm  who spoke when, without text: the format of diarization. Segments without a speaker are left out

    Times are rounded to milliseconds except in JSON. In the text of the others every run of white space is one space,
    as an empty line would end a subtitle. A segment without text is written for its speaker's sake, by name.

    Args:
        segments: in any order.
        format: one of FORMATS.
        lines: how much fits on the screen, and whether the word being said is underlined; for srt and vtt.
        source: the name of the medium, which json and rttm hold.

    Raises:
        ValueError: an unknown format, or a segment that stops before it starts.

    >>> print(write([Segment(1.5, 2.25, "Hello there.", speaker="Ann")], "srt"), end="")
    1
    00:00:01,500 --> 00:00:02,250
    [Ann]: Hello there.
    """
    return _find_format(format).write(sort_segments(segments), lines, source)


def read_segments(text: str, format: Format) -> list[Segment]:
    """The text of a file to its segments: what `write` made of them, and what other tools write.

    Line breaks inside a subtitle become spaces; formatting is dropped. `[name]: ` at the beginning of an srt subtitle
    is its speaker, as is a voice tag in vtt. txt holds no times, so it cannot be read.

    Raises:
        ValueError: an unknown format, or a line that is not of that format; the message says which. An rttm with
            several recordings: see `read_rttm`.
    """
    reader = _find_format(format).read
    if reader is None:
        raise ValueError(f"{format} holds no times: expected one of {', '.join(f for f in FORMATS if _ROWS[f].read)}")
    return sort_segments(reader(text.removeprefix("\ufeff")))


def read_rttm(text: str) -> dict[str, list[Segment]]:
    """The turns of each recording in an RTTM file, by the recording's name.

    >>> read_rttm("SPEAKER talk 1 0.500 1.250 <NA> <NA> Ann <NA> <NA>")["talk"][0].stop
    1.75
    """
    found: dict[str, list[Segment]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue  # comments, and the types of line that say other things
        try:
            start, length, speaker = _to_milliseconds(fields[3]), _to_milliseconds(fields[4]), fields[7]
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"line {number}: expected SPEAKER name 1 start length <NA> <NA> who, got {line!r}"
            ) from error
        turn = Segment(start / 1000, (start + length) / 1000, "", speaker=speaker)
        found.setdefault(fields[1], []).append(turn)
    return found


@dataclass(frozen=True, slots=True)
class _FormatRow:
    write: Callable[[Sequence[Segment], SubtitleLayout, str], str]
    read: Callable[[str], Iterable[Segment]] | None


def _find_format(format: str) -> _FormatRow:
    if format not in _ROWS:
        raise ValueError(f"expected one of {', '.join(FORMATS)}, got {format!r}")
    return _ROWS[format]


# Text


def _flatten(text: str) -> str:
    return " ".join(text.split())


def _format_with_speaker(segment: Segment) -> str:
    """`[Ann]: text`, the name alone where nothing is said, the text alone where nobody is known."""
    if segment.speaker is None:
        return segment.text
    return f"[{_flatten(segment.speaker)}]: {segment.text}".rstrip()


_NAMED = re.compile(r"\[([^\[\]]+)\]:(?:\s+|$)")


def _split_speaker(text: str) -> tuple[str | None, str]:
    """Speaker and text."""
    found = _NAMED.match(text)
    return (found[1], text[found.end() :]) if found else (None, text)


def _write_txt(segments: Sequence[Segment], lines: SubtitleLayout, source: str) -> str:
    return "".join(f"{_flatten(_format_with_speaker(segment))}\n" for segment in segments)


# Times


def _format_time(seconds: float, point: str) -> str:
    """hh:mm:ss and milliseconds after `point`; more digits for the hours where it takes them."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{thousandths:03}"


_STAMP = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_RANGE = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}")


def _parse_time(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return (whole * 1000 + int(fraction.ljust(3, "0"))) / 1000


def _to_milliseconds(seconds: str) -> int:
    return round(float(seconds) * 1000)


# SubRip and WebVTT: blocks with a line of times


def _write_srt(segments: Sequence[Segment], lines: SubtitleLayout, source: str) -> str:
    spoken = (
        shown
        for cue in split_cues(map(_prefix_speaker, segments), lines)
        for shown in _format_cue_texts(cue, lines, str)
    )
    return "\n".join(f"{number}\n{_format_cue(cue, ',')}\n" for number, cue in enumerate(spoken, 1))


def _prefix_speaker(segment: Segment) -> Segment:
    """The speaker's name as the first words of what is said."""
    if segment.speaker is None:
        return segment
    name = _format_with_speaker(replace(segment, text="")).split()
    words = tuple(Segment(segment.start, segment.start, part) for part in name) + segment.words
    return replace(segment, text=_format_with_speaker(segment), words=words)


def _format_cue_texts(cue: Segment, lines: SubtitleLayout, escape: Callable[[str], str]) -> Iterator[Segment]:
    """The cue as it is written: once, or once for each word that is underlined while it is said, and between them."""
    at = cue.start
    for number, word in enumerate(words_if_matching(cue) if lines.highlight else ()):
        start, stop = max(word.start, at), min(word.stop, cue.stop)
        if round(stop * 1000) <= round(start * 1000):
            continue  # said in no time, as the speaker's name is
        if round(start * 1000) > round(at * 1000):
            yield replace(cue, start=at, stop=start, text=escape(cue.text))
        yield replace(cue, start=start, stop=stop, text=_underline_word(cue.text, number, escape))
        at = stop
    if at == cue.start or round(cue.stop * 1000) > round(at * 1000):
        yield replace(cue, start=at, text=escape(cue.text))


def _underline_word(text: str, number: int, escape: Callable[[str], str]) -> str:
    """The word of that number between tags; line breaks stay where they are."""
    found = list(re.finditer(r"\S+", text))[number]
    return f"{escape(text[: found.start()])}<u>{escape(found[0])}</u>{escape(text[found.end() :])}"


def _format_cue(cue: Segment, point: str, before: str = "") -> str:
    return f"{_format_time(cue.start, point)} --> {_format_time(cue.stop, point)}\n{before}{cue.text}"


def _write_vtt(segments: Sequence[Segment], lines: SubtitleLayout, source: str) -> str:
    blocks = ["WEBVTT\n"]
    for cue in split_cues(segments, lines):
        name = "" if cue.speaker is None else f"<v {_escape_vtt(_flatten(cue.speaker))}>"
        blocks += [f"{_format_cue(shown, '.', name)}\n" for shown in _format_cue_texts(cue, lines, _escape_vtt)]
    return "\n".join(blocks)


def _escape_vtt(text: str) -> str:
    return html.escape(text, quote=False)


def _split_blocks(text: str, format: str) -> Iterator[tuple[float, float, str]]:
    """Start, stop and text of each block that has times; the others are headers, notes and styles."""
    for block in re.split(r"\n[^\S\n]*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        rows = block.strip("\n").split("\n")
        at = next((i for i, row in enumerate(rows) if "-->" in row), None)
        if at is None:
            continue
        found = _RANGE.match(rows[at])
        if found is None:
            raise ValueError(
                f"expected times of {format} as in {_format_time(62.5, '.')} --> {_format_time(64, '.')}, "
                f"got {rows[at]!r}"
            )
        times = found.groups()
        yield _parse_time(*times[:4]), _parse_time(*times[4:]), _flatten(" ".join(rows[at + 1 :]))


_TAG = re.compile(r"<[^<>]*>")


def _read_srt(text: str) -> Iterator[Segment]:
    for start, stop, content in _split_blocks(text, "srt"):
        speaker, said = _split_speaker(re.sub(r"</?(?:b|i|u|font)\b[^<>]*>", "", content))
        yield Segment(start, stop, said, speaker=speaker)


_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>]+)>")


def _read_vtt(text: str) -> Iterator[Segment]:
    for start, stop, content in _split_blocks(text, "vtt"):
        voice = _VOICE.match(content)
        speaker = html.unescape(voice[1]).strip() if voice else None
        yield Segment(start, stop, _flatten(html.unescape(_TAG.sub("", content))), speaker=speaker)


# Tables


def _write_tsv(segments: Sequence[Segment], lines: SubtitleLayout, source: str) -> str:
    named = any(segment.speaker is not None for segment in segments)
    rows = ["start\tstop\ttext" + "\tspeaker" * named]
    for s in segments:
        row = f"{round(s.start * 1000)}\t{round(s.stop * 1000)}\t{_flatten(s.text)}"
        rows.append(f"{row}\t{_flatten(s.speaker or '')}" if named else row)
    return "\n".join(rows) + "\n"


def _read_tsv(text: str) -> Iterator[Segment]:
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
    return json.dumps({"source": source, "segments": [to_row(s) for s in segments]}, indent=1) + "\n"


def _read_json(text: str) -> Iterator[Segment]:
    found: Any = parse_json(text)
    rows = found.get("segments") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise ValueError(f"expected an object with segments, or a list of them, got {str(found)[:60]!r}")
    return map(from_row, rows)


# RTTM


def _write_rttm(segments: Sequence[Segment], lines: SubtitleLayout, source: str) -> str:
    """One line a turn. Both ends are rounded, not the length: turns that meet still do."""
    rows = []
    for s in segments:
        if s.speaker is not None:
            start, stop = round(s.start * 1000), round(s.stop * 1000)
            times = f"{start / 1000:.3f} {(stop - start) / 1000:.3f}"
            rows.append(f"SPEAKER {_join_name(source)} 1 {times} <NA> <NA> {_join_name(s.speaker)} <NA> <NA>\n")
    return "".join(rows)


def _join_name(text: str) -> str:
    """One word, as the columns stand between spaces."""
    return re.sub(r"\s+", "_", text.strip()) or "<NA>"


def _read_rttm(text: str) -> list[Segment]:
    found = read_rttm(text)
    if len(found) > 1:
        raise ValueError(f"expected the turns of one recording, got those of {', '.join(found)}: use read_rttm")
    return next(iter(found.values()), [])


_ROWS: dict[Format, _FormatRow] = {
    "txt": _FormatRow(_write_txt, None),
    "srt": _FormatRow(_write_srt, _read_srt),
    "vtt": _FormatRow(_write_vtt, _read_vtt),
    "tsv": _FormatRow(_write_tsv, _read_tsv),
    "json": _FormatRow(_write_json, _read_json),
    "rttm": _FormatRow(_write_rttm, _read_rttm),
}
