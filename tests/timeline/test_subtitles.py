"""Subtitle files: what is written can be read, other tools' files can be read, and no line is too long."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from percepts.support.formats import READABLE_FORMATS
from percepts.timeline.segments import SubtitleLayout, from_row, shift_segments, sort_segments, split_cues, to_row
from percepts.timeline.subtitles import FORMATS, read_rttm, read_segments, write_segments
from percepts.types import Segment

word = st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="[]"), min_size=1, max_size=9).filter(
    lambda text: "-->" not in text
)
said = st.lists(word, min_size=1, max_size=8).map(" ".join)
name = st.none() | st.lists(word, min_size=1, max_size=2).map(" ".join)
moment = st.integers(0, 4 * 3600_000)  # milliseconds


def made(text, speaker, start, length, words=(), score=None):
    return Segment(start / 1000, (start + length) / 1000, text, words, speaker, score)


segment = st.builds(made, said, name, moment, st.integers(0, 9000))
exact = st.floats(0, 1e6)
rich = st.builds(
    lambda a, b, text, words, speaker, score, kind: Segment(min(a, b), max(a, b), text, words, speaker, score, kind),
    exact,
    exact,
    st.text(),
    st.lists(st.builds(lambda a, text: Segment(a, a, text), exact, st.text()), max_size=3).map(tuple),
    st.none() | st.text(),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)


@given(st.lists(rich, max_size=4))
def test_json_gives_back_every_field(segments):
    assert read_segments(write_segments(segments, "json"), "json") == sort_segments(segments)


def sorted_as_read(segments):
    return sorted(segments, key=repr)


@pytest.mark.parametrize("format", ["vtt", "tsv"])
@given(st.lists(segment, max_size=5))
def test_times_text_and_speakers_come_back(format, segments):
    assert sorted_as_read(read_segments(write_segments(segments, format), format)) == sorted_as_read(segments)


@given(st.lists(segment.filter(lambda s: "<" not in s.text + (s.speaker or "")), max_size=5))
def test_srt_comes_back_where_it_holds_no_tags(segments):
    assert sorted_as_read(read_segments(write_segments(segments, "srt"), "srt")) == sorted_as_read(segments)


@given(st.lists(segment, max_size=5))
def test_rttm_gives_back_the_turns(segments):
    turns = [replace(s, text="", speaker=s.speaker.replace(" ", "_")) for s in segments if s.speaker]
    assert sorted_as_read(
        read_segments(write_segments(segments, "rttm", source="a talk.wav"), "rttm")
    ) == sorted_as_read(turns)


@given(segment, st.integers(1, 20), st.none() | st.integers(1, 3), st.booleans())
def test_cues_fit_and_hold_everything_once(segment, width, count, timed):
    if timed:
        parts = segment.text.split()
        step = (segment.stop - segment.start) / len(parts)
        words = tuple(
            Segment(segment.start + i * step, segment.start + (i + 1) * step, f" {p}") for i, p in enumerate(parts)
        )
        segment = replace(segment, words=words)
    found = list(split_cues([segment], SubtitleLayout(width, count)))
    assert " ".join(cue.text for cue in found).split() == segment.text.split()
    assert (found[0].start, found[-1].stop) == (segment.start, segment.stop)
    for cue, following in zip(found, [*found[1:], None], strict=True):
        lines = cue.text.split("\n")
        assert all(len(line) <= width or " " not in line for line in lines)
        assert count is None or len(lines) <= count
        assert cue.start <= cue.stop
        if following:
            assert cue.stop == following.start
            assert not timed or following.start == following.words[0].start
    if timed and len(found) > 1:
        assert [word for cue in found for word in cue.words] == list(segment.words)


@given(st.lists(segment, max_size=3), st.integers(4, 30), st.integers(1, 2))
def test_broken_lines_say_the_same_when_read(segments, width, count):
    text = " ".join(
        s.text for s in read_segments(write_segments(segments, "vtt", lines=SubtitleLayout(width, count)), "vtt")
    )
    assert sorted(text.split()) == sorted(" ".join(s.text for s in segments).split())


def test_a_cut_falls_where_the_next_word_begins_behind_a_name():
    words = (Segment(0, 1, "one"), Segment(4, 5, " two"))
    text = write_segments([Segment(0, 5, "one two", words, "Ann")], "srt", lines=SubtitleLayout(10, 1))
    assert [(cue.start, cue.text) for cue in read_segments(text, "srt")] == [(0, "one"), (4, "two")]


def timed(segment: Segment) -> Segment:
    """Give a segment one Segment per word, one after the other with gaps of a third of a word."""
    parts = segment.text.split()
    step = (segment.stop - segment.start) / len(parts)
    at = [segment.start + i * step for i in range(len(parts))]
    words = tuple(Segment(a, a + step / 1.5, f" {part}") for a, part in zip(at, parts, strict=True))
    return replace(segment, words=words)


@given(segment.filter(lambda s: not set("<>&") & set(s.text + (s.speaker or ""))), st.integers(5, 30))
def test_highlighted_words_are_said_once_each_in_the_time_of_their_segment(segment, width):
    segment = timed(segment)
    for format in ("srt", "vtt"):
        text = write_segments([segment], format, lines=SubtitleLayout(width, 2, highlight=True))
        found = read_segments(text, format)
        assert found[0].start == segment.start and found[-1].stop == segment.stop
        assert all(a.stop == b.start for a, b in pairwise(found))
        if segment.stop - segment.start > 1:  # a word may be shorter than a millisecond otherwise
            assert re.findall(r"<u>(.*?)</u>", text) == segment.text.split()
        plain = write_segments([replace(segment, words=())], format, lines=SubtitleLayout(width, 2, highlight=True))
        assert "<u>" not in plain


def test_the_word_being_said_is_underlined():
    words = (Segment(1, 1.5, " So"), Segment(1.5, 2, " R&B"), Segment(2.5, 3, " then"))
    said = Segment(0.5, 3, "So R&B then", words, "Ann")
    assert write_segments([said], "vtt", lines=SubtitleLayout(7, highlight=True)).split("\n\n")[1:] == [
        "00:00:00.500 --> 00:00:01.000\n<v Ann>So R&amp;B\nthen",
        "00:00:01.000 --> 00:00:01.500\n<v Ann><u>So</u> R&amp;B\nthen",
        "00:00:01.500 --> 00:00:02.000\n<v Ann>So <u>R&amp;B</u>\nthen",
        "00:00:02.000 --> 00:00:02.500\n<v Ann>So R&amp;B\nthen",
        "00:00:02.500 --> 00:00:03.000\n<v Ann>So R&amp;B\n<u>then</u>\n",
    ]
    assert "[Ann]: <u>So</u> R&B" in write_segments([said], "srt", lines=SubtitleLayout(highlight=True))


def test_every_format_says_who_spoke():
    turn = Segment(61.0005, 62.25, "", speaker="Ann")
    assert write_segments([turn], "txt") == "[Ann]:\n"
    assert write_segments([turn], "srt") == "1\n00:01:01,000 --> 00:01:02,250\n[Ann]:\n"
    assert write_segments([turn], "vtt") == "WEBVTT\n\n00:01:01.000 --> 00:01:02.250\n<v Ann>\n"
    assert write_segments([turn], "tsv") == "start\tstop\ttext\tspeaker\n61000\t62250\t\tAnn\n"
    assert write_segments([turn], "rttm", source="a b") == "SPEAKER a_b 1 61.000 1.250 <NA> <NA> Ann <NA> <NA>\n"
    for format in ("srt", "vtt", "tsv", "rttm"):
        assert read_segments(write_segments([turn], format), format) == [Segment(61.0, 62.25, "", speaker="Ann")]


@pytest.mark.parametrize("format", FORMATS)
def test_no_segments_make_a_file_that_reads_as_none(format):
    text = write_segments([], format)
    assert format not in READABLE_FORMATS or read_segments(text, format) == []


def test_what_other_tools_write_is_read():
    srt = (
        "\ufeff1\r\n0:00:01,5 --> 00:00:02,000 X1:0\r\n<i>Two\r\nlines</i> & a < b\r\n\r\n"
        "\r\n2\r\n00:00:03,000 --> 00:00:04,000\r\n\r\n"
    )
    assert [(s.start, s.stop, s.text) for s in read_segments(srt, "srt")] == [
        (1.5, 2.0, "Two lines & a < b"),
        (3.0, 4.0, ""),
    ]
    vtt = (
        "WEBVTT - title\n\nNOTE 00:01 is no cue\n\nSTYLE\n::cue {}\n\nname\n01:02.500 --> 01:03.000 align:start\n"
        "<v.loud Ann Lee>It is <c.red>5 &gt; 4</c><00:01:02.700></v>\n"
    )
    assert read_segments(vtt, "vtt") == [Segment(62.5, 63.0, "It is 5 > 4", speaker="Ann Lee")]
    assert read_segments("start\tend\ttext\n0\t500\tHi\n", "tsv") == [Segment(0.0, 0.5, "Hi")]
    assert read_segments('[{"start": 0, "stop": 1}]', "json") == [Segment(0.0, 1.0, "")]
    rttm = ";; comment\nSPKR-INFO a 1 <NA>\nSPEAKER a 1 0.5 1 <NA> <NA> x <NA> <NA>\nSPEAKER b 1 0 1 <NA> <NA> x <NA>\n"
    assert {name: len(turns) for name, turns in read_rttm(rttm).items()} == {"a": 1, "b": 1}


def test_turns_that_meet_still_meet_in_rttm():
    turns = [Segment(0.0004, 1.0006, "", speaker="a"), Segment(1.0006, 2.0004, "", speaker="b")]
    first, second = read_segments(write_segments(turns, "rttm"), "rttm")
    assert first.stop == second.start


@pytest.mark.parametrize(
    ("text", "format", "said"),
    [
        ("", "txt", "no times"),
        ("", "doc", "expected one of txt"),
        ("1\n00:01 --> tomorrow\nx", "srt", "expected times"),
        ("a\tb\n", "tsv", "first line"),
        ("start\tstop\ttext\n1\t2", "tsv", "line 2"),
        ("{}", "json", "segments"),
        ('[{"start": 1}]', "json", "start and stop"),
        ("[1]", "json", "start and stop"),
        ("nonsense", "json", "Expecting value"),
        ("SPEAKER a 1 x 1 <NA> <NA> b", "rttm", "line 1"),
        ("SPEAKER a 1 0 1 <NA> <NA> b\nSPEAKER c 1 0 1 <NA> <NA> b", "rttm", "one file, got those of a, c"),
    ],
)
def test_what_cannot_be_read_is_said(text, format, said):
    with pytest.raises(ValueError, match=said):
        read_segments(text, format)


@pytest.mark.parametrize("bad", [Segment(2, 1, ""), Segment(-1, 1, ""), Segment(0, float("nan"), "")])
def test_times_that_cannot_be_are_refused(bad):
    with pytest.raises(ValueError, match="start <= stop"):
        write_segments([bad], "srt")


def test_lines_need_room():
    with pytest.raises(ValueError, match="1 or more"):
        SubtitleLayout(width=0)


@given(rich, st.integers(0, 1000))
def test_shifting_moves_words_along(segment, by):
    (moved,) = shift_segments([segment], by)
    assert moved.start == segment.start + by and all(
        there.start == here.start + by for there, here in zip(moved.words, segment.words, strict=True)
    )
    assert from_row(to_row(moved)) == moved
