"""Tokens in, words out: where a word begins in languages with spaces, and in those without."""

from __future__ import annotations

import string
from collections.abc import Sequence

from ..engines import TextTokenizer

UNSPACED = ("zh", "ja", "th", "lo", "my", "yue")
"""Languages written without spaces: a character is a word."""
BEFORE = frozenset("\"'“¿([{-")
AFTER = frozenset("\"'.。,，!！?？:：”)]}、")
"""Marks that belong to the word after them, and to the one before."""
_BROKEN = "\ufffd"

Word = tuple[str, tuple[int, ...]]
"""Its text with the space before it, and its tokens."""


def group_tokens_into_words(tokens: Sequence[int], text: TextTokenizer, language: str) -> list[Word]:
    """Cut tokens of text into words; together they are the tokens."""
    whole = _group_characters(tokens, text)
    return whole if language in UNSPACED else _group_by_spaces(whole)


def _group_characters(tokens: Sequence[int], text: TextTokenizer) -> list[Word]:
    """The fewest tokens that are whole characters; U+FFFD itself can be said, too."""
    complete = text.decode(tokens)
    found: list[Word] = []
    part: list[int] = []
    at = 0
    for token in tokens:
        part.append(token)
        spelled = text.decode(part)
        place = spelled.find(_BROKEN)
        if place < 0 or complete[at + place : at + place + 1] == _BROKEN:
            found.append((spelled, tuple(part)))
            at += len(spelled)
            part = []
    return [*found, (text.decode(part), tuple(part))] if part else found


def _group_by_spaces(parts: Sequence[Word]) -> list[Word]:
    found: list[Word] = []
    for spelled, tokens in parts:
        mark = spelled.strip() in string.punctuation
        if not found or spelled.startswith(" ") or mark:
            found.append((spelled, tokens))
        else:
            found[-1] = found[-1][0] + spelled, found[-1][1] + tokens
    return found
