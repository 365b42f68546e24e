"""Define the words of a page and their boxes, as the document models take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import MediaError, QuestionError
from ..base import Box

GRID = 1000
"""Boxes are given to the models on a grid of so many steps in each direction."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a page, and its box in pixels of the page."""

    text: str
    box: Box


def scale_box(box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    """Return a box on the models' grid, cut at the edges of a page of that size.

    >>> scale_box((50, 100, 150, 210), 200, 200)
    (250, 500, 750, 1000)
    """
    left, top, right, bottom = box
    if not (np.isfinite(box).all() and left <= right and top <= bottom):
        raise MediaError(f"expected a box as left, top, right, bottom in pixels of the page, got {box}")
    sides = (left / width, top / height, right / width, bottom / height)
    # Truncated as transformers' normalize_box does; the models have no embedding beyond GRID.
    scaled = [min(max(int(GRID * side), 0), GRID) for side in sides]
    return scaled[0], scaled[1], scaled[2], scaled[3]


def parse_words(items: Sequence[Any]) -> list[Word]:
    """Return words given as Word, (text, (left, top, right, bottom)) or {"text": …, "box": …}; else QuestionError."""
    words = []
    for item in items:
        if isinstance(item, Word):
            words.append(item)
            continue
        try:
            text, box = (item["text"], item["box"]) if isinstance(item, dict) else item
            left, top, right, bottom = map(float, box)
        except (TypeError, ValueError, KeyError) as error:
            raise QuestionError(
                f"expected words as (text, (left, top, right, bottom)) or {{'text', 'box'}}, got {item!r}"
            ) from error
        words.append(Word(str(text), (left, top, right, bottom)))
    return words
