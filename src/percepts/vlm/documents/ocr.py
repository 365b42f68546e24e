"""A page in, its words and their boxes out: RapidOCR, whose wheel carries its networks, so that no hub is needed."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ...errors import MissingExtra
from .page import Word


def read_words(page: np.ndarray) -> list[Word]:
    """The words of a page, (H, W, 3) uint8 RGB, line by line, boxes in pixels of the page; [] where there are none.

    Raises MissingExtra without rapidocr.
    """
    found = _load_ocr()(np.ascontiguousarray(page[..., ::-1]), return_word_box=True)
    lines = () if found.boxes is None else found.word_results
    return [Word(text, _enclose_corners(corners)) for line in lines for text, _, corners in line if text.strip()]


@cache
def _load_ocr() -> Any:
    """PP-OCR's detection and recognition, one thread each: jobs read pages side by side."""
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise MissingExtra(
            "reading the words of a page needs rapidocr: pip install 'percepts[ocr]'; or give the words and their boxes"
        ) from error
    return RapidOCR(params={"EngineConfig.onnxruntime.intra_op_num_threads": 1, "Global.log_level": "error"})


def _enclose_corners(corners: Any) -> tuple[float, float, float, float]:
    """The box around a quadrangle."""
    x, y = np.asarray(corners, float).T
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())
