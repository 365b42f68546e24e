from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from percepts.speech.engines import TokenAlignment, WhisperVocabulary
from percepts.speech.whisper.repetition import RepetitionGuard
from percepts.speech.whisper.segmentation import TimedTokens, split_at_timestamps
from percepts.speech.whisper.word_grouping import group_tokens_into_words
from percepts.speech.whisper.word_timestamps import add_words, decode_segments


class Bytes:
    """A tokenizer whose tokens are some bytes each."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts

    def encode(self, text: str) -> list[int]:
        raise NotImplementedError

    def decode(self, tokens: Sequence[int]) -> str:
        return b"".join(self.parts[token] for token in tokens).decode(errors="replace")


ENGLISH = Bytes(b" ask", b" not", b",", b" coun", b"try", b".", b' "', b'"', b" caf", b"\xc3", b"\xa9")


def vocabulary(text: Bytes) -> WhisperVocabulary:
    count = len(text.parts)
    return WhisperVocabulary(
        text, count + 1600, eot=count, sot=count + 1, previous=0, no_speech=0, no_timestamps=0, timestamps=count + 10
    )


def test_words_begin_at_spaces_and_marks_stand_alone() -> None:
    found = group_tokens_into_words([0, 1, 2, 3, 4, 5, 8, 9, 10], ENGLISH, "en")
    assert [text for text, _ in found] == [" ask", " not", ",", " country", ".", " café"]
    assert [token for _, tokens in found for token in tokens] == [0, 1, 2, 3, 4, 5, 8, 9, 10]


def test_where_there_are_no_spaces_a_character_is_a_word() -> None:
    chinese = Bytes("问".encode()[:1], "问".encode()[1:], "你们".encode())
    assert group_tokens_into_words([0, 1, 2], chinese, "zh") == [("问", (0, 1)), ("你们", (2,))]
    assert group_tokens_into_words([2, 0], chinese, "zh") == [("你们", (2,)), ("\ufffd", (0,))]  # broken off


def test_marks_go_to_their_words_and_pieces_share_the_path() -> None:
    tokens, first = vocabulary(ENGLISH), vocabulary(ENGLISH).timestamps
    segments = decode_segments(
        [TimedTokens(0, 100, (first, 6, 0, 2, first + 50)), TimedTokens(100, 250, (first + 50, 3, 4, 5, 7))], tokens
    )
    starts = [0, 5, 25, 50, 60, 90, 95, 100]
    add_words(segments, TokenAlignment(np.arange(8), np.array(starts), np.full(7, 0.5)), tokens, "en", 10.0, 10.0)
    assert [[word.text for word in segment.words] for segment in segments] == [[' " ask,'], [' country."']]
    assert (segments[0].words[0].start, segments[1].words[0].start, segments[1].words[0].stop) == (
        10.1,
        11.3,
        11.8,
    )  # not long after a pause


def test_a_window_is_cut_where_two_times_meet() -> None:
    tokens = vocabulary(ENGLISH)
    time = lambda seconds: tokens.timestamps + round(seconds * 50)  # noqa: E731  # reads as the token it is
    pair = [time(0), 0, time(2), time(2.5), 1, time(4)]
    ended = split_at_timestamps(pair, tokens, 1000, 3000)
    assert [(p.start, p.stop) for p in ended.segments] == [(1000, 1200), (1250, 1400)]
    assert (ended.advance, ended.ending) == (3000, True)
    broken = split_at_timestamps([*pair, time(4), 3], tokens, 1000, 3000)
    assert len(broken.segments) == 2 and (broken.advance, broken.ending) == (400, False)
    last = split_at_timestamps([*pair, time(4), 3], tokens, 1000, 3000, last=True)
    assert [(p.start, p.stop) for p in last.segments][2:] == [(1400, 4000)] and last.advance == 3000
    assert [(p.start, p.stop) for p in split_at_timestamps([time(0), 0], tokens, 1000, 700).segments] == [(1000, 1700)]
    padded = split_at_timestamps(
        [time(0), 3, time(0.08), time(0.08), 3, time(0.4), time(0.4), 3, time(0.5)], tokens, 1000, 30
    )
    assert [(p.start, p.stop) for p in padded.segments] == [(1000, 1008), (1008, 1030)]  # the sound ends there


def test_what_repeats_itself_is_noticed() -> None:
    assert RepetitionGuard().is_repetitive("so so so so so", spaced=True)
    assert not RepetitionGuard().is_repetitive("so so so so what", spaced=True)
    assert RepetitionGuard().is_repetitive("哈哈哈哈哈", spaced=False)
    repeats = RepetitionGuard()
    assert [repeats.is_repetitive(" Thank you.", spaced=True) for _ in range(3)] == [False, False, True]
