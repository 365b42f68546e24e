"""Group tokens into words, in languages written with spaces and in those without."""

from __future__ import annotations

import string
from collections.abc import Sequence

from ..engines import TextTokenizer

UNSPACED = ("zh", "ja", "th", "lo", "my", "yue")
"""Languages written without spaces, where each character counts as a word."""
BEFORE = frozenset("\"'“¿([{-")
AFTER = frozenset("\"'.。,，!！?？:：”)]}、")
"""Punctuation that belongs to the word after it, and to the word before it."""
_BROKEN = "\ufffd"  # what a decoder puts for bytes that are no complete character

Word = tuple[str, tuple[int, ...]]
"""The text of a word with the space before it, and its tokens."""


def group_tokens_into_words(tokens: Sequence[int], text: TextTokenizer, language: str) -> list[Word]:
    """Group the tokens of a text into words, which together are all the tokens."""
    characters = _group_characters(tokens, text)
    return characters if language in UNSPACED else _group_by_spaces(characters)


def _group_characters(tokens: Sequence[int], text: TextTokenizer) -> list[Word]:
    """Group as few tokens as make complete characters. U+FFFD itself can be part of the text, too."""
    # Decoded at once, it shows which U+FFFD are in the text and which are parts of characters.
    complete = text.decode(tokens)
    groups: list[Word] = []
    part: list[int] = []
    at = 0
    for token in tokens:
        part.append(token)
        spelled = text.decode(part)
        place = spelled.find(_BROKEN)
        if place < 0 or complete[at + place : at + place + 1] == _BROKEN:
            groups.append((spelled, tuple(part)))
            at += len(spelled)
            part = []
    return [*groups, (text.decode(part), tuple(part))] if part else groups


def _group_by_spaces(parts: Sequence[Word]) -> list[Word]:
    """Join groups to words at leading spaces; punctuation stands by itself."""
    words: list[Word] = []
    for spelled, tokens in parts:
        mark = spelled.strip() in string.punctuation
        if not words or spelled.startswith(" ") or mark:
            words.append((spelled, tokens))
        else:
            words[-1] = words[-1][0] + spelled, words[-1][1] + tokens
    return words
