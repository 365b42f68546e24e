"""Read the words of a page and their boxes with RapidOCR, whose wheel contains its networks: no hub is needed."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ...errors import MissingExtra
from .page import Word


def read_words(page: np.ndarray) -> list[Word]:
    """Return the words of a page, (H, W, 3) uint8 RGB, line by line, with boxes in pixels; [] for an empty page.

    Raises MissingExtra without rapidocr.
    """
    # RapidOCR takes BGR, as OpenCV does.
    result = _load_ocr()(np.ascontiguousarray(page[..., ::-1]), return_word_box=True)
    lines = () if result.boxes is None else result.word_results
    return [Word(text, _enclose_corners(corners)) for line in lines for text, _, corners in line if text.strip()]


@cache
def _load_ocr() -> Any:
    """Load PP-OCR's detection and recognition with one thread each, because jobs read several pages at once."""
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise MissingExtra(
            "reading the words of a page needs rapidocr: pip install 'percepts[ocr]'; or give the words and their boxes"
        ) from error
    return RapidOCR(params={"EngineConfig.onnxruntime.intra_op_num_threads": 1, "Global.log_level": "error"})


def _enclose_corners(corners: Any) -> tuple[float, float, float, float]:
    """Return the upright box around four corners."""
    x, y = np.asarray(corners, float).T
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())
